"""Who may import whom: the contracts of pyproject.toml, and one importing folder for each engine we stand on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.house import tree

SERVER = f"{tree.SERVER}/"
# Each engine that we stand on, and the only folders or files that may import it.
HOMES = {
    "ahocorasick": (f"{SERVER}domain/",),
    "aiohttp": (
        *(f"{SERVER}adapters/{place}/" for place in ("collector", "opa", "webhooks", "witness")),
        f"{SERVER}entrypoints/local_http/",
        f"{SERVER}entrypoints/hooks/",
        f"{SERVER}entrypoints/metrics/",
        f"{SERVER}entrypoints/witness/",
        *(f"clients/aisecops_mcp/http_{place}.py" for place in ("front", "listener", "server")),
    ),
    "apsw": (f"{SERVER}adapters/sqlite/", f"{SERVER}adapters/postgres/"),
    "asyncpg": (f"{SERVER}adapters/postgres/",),
    "click": (f"{SERVER}cli/",),
    "cryptography": (
        f"{SERVER}adapters/identity/",
        f"{SERVER}adapters/signing/",
        "clients/aisecops_grant/verifier.py",
        "clients/aisecops_verify/",
    ),
    "docker": (f"{SERVER}adapters/opa/",),
    "git": (f"{SERVER}adapters/git/",),
    "jwt": (f"{SERVER}adapters/identity/", f"{SERVER}adapters/signing/"),
    "opa_client": (f"{SERVER}adapters/opa/",),
    "prometheus_client": (f"{SERVER}adapters/metrics/",),
    "pyarrow": (f"{SERVER}adapters/corpus/", f"{SERVER}adapters/recordings/parquet_rows.py"),
    "yaml": (f"{SERVER}adapters/", f"{SERVER}settings.py", f"{SERVER}cli/", f"{SERVER}demo/"),
}
FRAMEWORKS = "clients/aisecops_client/frameworks/"
# What an adapter may import beside what the client stands on: its own framework.
ADAPTED = {
    "langchain": {"langchain", "langchain_core"},
    "langgraph": {"langchain_core", "langgraph"},
    "openai_agents": {"agents"},
    "pydantic_ai": {"pydantic_ai", "pydantic_core"},
    "claude_agent_sdk": {"claude_agent_sdk"},
}
NOWHERE = {"pickle", "shelve", "marshal", "sqlite3", "xml", "telnetlib", "mock"}


def test_every_import_contract_is_kept() -> None:
    # In a process of its own: it switches off every logger that there is.
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=tree.ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_engine_has_one_home() -> None:
    strays = [
        f"{path} imports {engine}"
        for path in tree.under(SERVER, "clients/", suffix=".py")
        for engine in HOMES.keys() & _roots(path)
        if not path.startswith(HOMES[engine])
    ]
    assert strays == []


def test_nothing_that_runs_foreign_bytes_is_imported() -> None:
    assert [path for path in tree.under(SERVER, "clients/", suffix=".py") if NOWHERE & _roots(path)] == []


def test_the_client_stands_on_the_base_dependencies_alone() -> None:
    allowed = {"aisecops", "aisecops_client", "aisecops_grant", "grpc", "google", "grpc_status"}
    foreign = {
        path: sorted(_roots(path) - allowed - set(sys.stdlib_module_names) - _adapted(path))
        for path in tree.under("clients/aisecops_client/", suffix=".py")
    }
    assert {path: names for path, names in foreign.items() if names} == {}


def test_only_adapters_know_frameworks_and_nobody_knows_adapters() -> None:
    knowing = [
        f"{path} imports {name}"
        for path in tree.under(SERVER, "clients/", suffix=".py")
        if not path.startswith(FRAMEWORKS)
        for name in tree.imported(path)
        if name.startswith("aisecops_client.frameworks")
    ]
    assert knowing == []
    adapters = [path for path in tree.under(FRAMEWORKS, suffix=".py") if _adapted(path)]
    assert {
        path: len(tree.text(path).splitlines()) for path in adapters if len(tree.text(path).splitlines()) > 150
    } == {}


def test_the_verifier_stands_on_one_library_alone() -> None:
    known = {"cryptography", *sys.stdlib_module_names}
    files = tree.under("clients/aisecops_verify/", suffix=".py")
    assert {path: foreign for path in files if (foreign := _roots(path) - known - {"aisecops_verify"})} == {}
    # What is copied and read has no second file to come with it.
    assert _roots(tree.ONE_FILE) - known == set()


def test_the_client_needs_no_cryptography_and_the_verifier_nothing_else() -> None:
    client = tree.under("clients/aisecops_client/", suffix=".py")
    assert [path for path in client if "aisecops_grant.verifier" in tree.imported(path)] == []
    foreign = {
        path: _roots(path) - {"aisecops_grant"} - set(sys.stdlib_module_names)
        for path in tree.under("clients/aisecops_grant/", suffix=".py")
    }
    assert {path: names for path, names in foreign.items() if names} == {
        "clients/aisecops_grant/verifier.py": {"cryptography"}
    }


def _adapted(path: str) -> set[str]:
    is_adapter = path.startswith(FRAMEWORKS)
    return ADAPTED.get(path.removeprefix(FRAMEWORKS).removesuffix(".py"), set()) if is_adapter else set()


def _roots(path: str) -> set[str]:
    return {name.partition(".")[0] for name in tree.imported(path)}
