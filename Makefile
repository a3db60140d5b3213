# Every task of this repository. `make help` lists them. No logic lives here: each task calls the tool that owns it.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
VENV   := .venv
BIN    := $(VENV)/bin
# Tests wait more than they work: two for each of the two cores that they are meant for.
JOBS   ?= 4
SEED   ?= 1
PROTOS  = $(sort $(wildcard proto/aisecops/v1/*.proto))
LOCK    = $(BIN)/uv pip compile pyproject.toml requirements/build.in --universal --python-version 3.11 \
          --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet
INSTALL = $(BIN)/pip install --quiet --require-hashes --requirement

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Some images ask for it; every program that the tests start would then compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.server engine ## see it decide: sets everything up, then runs the main job in this terminal
	@$(BIN)/aisecops demo

.PHONY: test
test: setup engine browser database prometheus frameworks peers conftest ## set everything up, then run lint, types and all tests; SEED=n for another order and other examples
	@$(MAKE) lint
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/pytest -n $(JOBS) --dist loadfile \
	  --randomly-seed=$(SEED) --hypothesis-seed=$(SEED)

.PHONY: test-polyglot
test-polyglot: setup engine ## the example agents of all languages, also those that take minutes to build
	AISECOPS_POLYGLOT=1 AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/pytest -rs tests/e2e/test_polyglot.py

.PHONY: test-openclaw
test-openclaw: setup engine ## the plugin for OpenClaw in a real gateway, which is 650 MB to install
	AISECOPS_OPENCLAW=1 AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/pytest -rs --timeout=900 tests/e2e/test_openclaw.py

# An engine that the tests start themselves, and a base of Debian's packages: no registry of images is asked.
.PHONY: test-containers
test-containers: setup engine ## the image that ships, built and run in a container engine; as root, on Debian
	@command -v dockerd >/dev/null && command -v debootstrap >/dev/null || { command -v apt-get >/dev/null && \
	  [ "$$(id -u)" = 0 ] && echo "Installing a container engine for the tests" && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io debootstrap >/dev/null; } || \
	  echo "No container engine can be installed here: the tests will be skipped"
	AISECOPS_CONTAINERS=1 AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/pytest -rs --timeout=900 tests/containers

.PHONY: test-faults
test-faults: setup engine ## the tests that break things, many more rounds of each
	AISECOPS_FAULTS=many AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/pytest -n $(JOBS) --dist loadfile \
	  --randomly-seed=$(SEED) --timeout=900 --durations=10 tests/fault

.PHONY: browser
browser: ## a browser for the tests of the UI, where the package manager can install one; elsewhere those tests are skipped
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && echo "Installing Chromium for the tests of the UI" && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	  chromium fonts-dejavu-core >/dev/null; } || echo "No browser can be installed here: the tests of the UI in a browser will be skipped"

# The tests start servers of their own, as a user without privileges.
.PHONY: database
database: ## a PostgreSQL server for the tests of a shared log, where the package manager can install one; elsewhere they are skipped
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	  { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && echo "Installing PostgreSQL for the tests of a shared log" && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } || \
	  echo "PostgreSQL cannot be installed here: the tests of a shared log will be skipped"

.PHONY: prometheus
prometheus: ## a Prometheus for the tests of alerts and the board, where the package manager can install one; elsewhere they are skipped
	@command -v promtool >/dev/null || \
	  { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && echo "Installing Prometheus for the tests of alerts" && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null; } || \
	  echo "Prometheus cannot be installed here: the tests that run it will be skipped"

.PHONY: frameworks
frameworks: setup ## the agent frameworks that there are adapters for; where they cannot be installed, their tests are skipped
	@test $(VENV)/.frameworks -nt requirements/frameworks.lock || { echo "Installing the locked agent frameworks" && \
	  $(INSTALL) requirements/frameworks.lock && touch $(VENV)/.frameworks; } || \
	  echo "The agent frameworks cannot be installed here: the tests of their adapters will be skipped"

.PHONY: peers
peers: setup ## what others wrote for MCP and OpenID Connect, and a Node for it; where it cannot be installed, the tests that run it are skipped
	@$(BIN)/python -m tests.scenes.mcp.mcp_packages || \
	  echo "Programs from npm cannot be installed here: the tests that run them will be skipped"

# Built from source, whose hash Go's checksum database knows; where there is no Go, OPA runs the same conditions.
CONFTEST_VERSION = v0.71.1
.PHONY: conftest
conftest: setup ## Conftest, for the tests that hold it against OPA on the same conditions; where it cannot be built they are skipped
	@test -x $(BIN)/conftest || { command -v go >/dev/null && echo "Building Conftest $(CONFTEST_VERSION), once" && \
	  GOBIN="$(CURDIR)/$(BIN)" go install github.com/open-policy-agent/conftest@$(CONFTEST_VERSION) 2>/dev/null; } || \
	  echo "Conftest cannot be built here: the tests that run it will be skipped"

.PHONY: lint
lint: setup ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: setup
setup: $(VENV)/.dev $(VENV)/.protoc ## the environment: locked, hashed requirements and this tree, editable

.PHONY: engine
engine: $(VENV)/.server ## the pinned policy engine (OPA)
	@$(BIN)/aisecops engine install $$($(BIN)/aisecops engine path >/dev/null 2>&1 && echo --quiet)

.PHONY: docs
docs: setup engine ## regenerate docs/reference from the code it describes
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m docs.generate

.PHONY: schemas
schemas: setup engine ## regenerate what policy is checked with: the document's schema, the allowed built-ins
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m tests.scenes.policy.rego_contract

.PHONY: proto
proto: setup ## regenerate proto/gen from proto/aisecops
	$(BIN)/buf format --write proto
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(VENV)/protoc" $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=proto/gen \
	  --grpc_python_out=proto/gen --mypy_out=quiet:proto/gen --mypy_grpc_out=quiet:proto/gen $(PROTOS)

.PHONY: bench
bench: setup engine ## measure against the peers, on this machine, now; TRACES=folder of recorded traces, CERBOS=binary
	@test -d "$(TRACES)" || { echo "Say where recorded traces are: make bench TRACES=folder" >&2; exit 2; }
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m benchmarks.decide "$(TRACES)"
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m benchmarks.cerbos "$(TRACES)" --cerbos "$(CERBOS)"
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m benchmarks.agent_traces "$(TRACES)"
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m benchmarks.event_log --events 100000
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m benchmarks.budgets
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m benchmarks.grants
	AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m benchmarks.rollout
	$(BIN)/python -m benchmarks.screen

.PHONY: lock
lock: setup ## resolve the requirements anew; with UPGRADE=1 to their newest versions
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra server --extra ui --extra mcp --output-file requirements/server.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra server --extra ui --extra mcp --extra cluster --extra partitions --extra dev --constraint requirements/server.lock \
	  --output-file requirements/dev.lock
	$(BIN)/uv pip compile requirements/protoc.in --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --quiet --output-file requirements/protoc.lock
	$(BIN)/uv pip compile requirements/node.in --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --quiet --output-file requirements/node.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra frameworks --constraint requirements/dev.lock \
	  --output-file requirements/frameworks.lock

.PHONY: sbom
sbom: setup engine ## what a control plane and its engine are made of, with licences, as CycloneDX: dist/aisecops.cdx.json
	@mkdir -p dist
	@AISECOPS_OPA="$$($(BIN)/aisecops engine path)" $(BIN)/python -m docs.generate.materials dist/aisecops.cdx.json

.PHONY: audit
audit: setup ## known vulnerabilities of what is locked; fails too where anything cannot be looked up
	$(BIN)/uv tool run --from pip-audit==2.10.1 pip-audit --strict --require-hashes --disable-pip -r requirements/server.lock

.PHONY: clean
clean: ## remove the environment and everything made here; the engine's cache stays
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, found $$($(PYTHON) --version). Say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# Nothing is built in isolation: the build backend is in the lock too, so every byte that gets installed is hashed.
$(VENV)/.server: requirements/server.lock pyproject.toml | $(BIN)/pip
	@echo "Installing the locked requirements of the server"
	@$(INSTALL) requirements/server.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.server | $(BIN)/pip
	@echo "Installing the locked tools that check it"
	@$(INSTALL) requirements/dev.lock
	@touch $@

# A generator of its own age, beside the newer one of the environment.
$(VENV)/.protoc: requirements/protoc.lock | $(BIN)/pip
	@rm -rf $(VENV)/protoc
	@$(BIN)/pip install --quiet --require-hashes --no-deps --target $(VENV)/protoc --requirement requirements/protoc.lock
	@touch $@
