"""The composition root of checking policy: what reads a working copy, runs the engine's tools, and remembers.

Everything works on files and on a Git checkout; no control plane, no log and no network is needed, so that it runs the
same on a laptop and in continuous integration.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path

from aisecops_server.adapters.bundles.checks.build_check import BuildCheck
from aisecops_server.adapters.bundles.checks.changes_check import ChangesCheck, facts_of_rules
from aisecops_server.adapters.bundles.checks.code_owners import PLACES
from aisecops_server.adapters.bundles.checks.compile_check import CompileCheck
from aisecops_server.adapters.bundles.checks.conftest_check import ConftestCheck
from aisecops_server.adapters.bundles.checks.cost import MeasureCost
from aisecops_server.adapters.bundles.checks.format_check import FormatCheck
from aisecops_server.adapters.bundles.checks.golden_check import GoldenCheck
from aisecops_server.adapters.bundles.checks.lint_check import LintCheck
from aisecops_server.adapters.bundles.checks.memory import FileMemory
from aisecops_server.adapters.bundles.checks.rule_reader import ReadRules
from aisecops_server.adapters.bundles.checks.rules_check import RulesCheck
from aisecops_server.adapters.bundles.checks.test_check import TestCheck
from aisecops_server.adapters.bundles.checks.workshop import Workshops
from aisecops_server.adapters.bundles.gate_files import accepted_in, gates_of, waivers_of
from aisecops_server.adapters.bundles.layout import Library, table_files
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.policy_reader import OpaPolicyReader
from aisecops_server.adapters.bundles.working_copy import read_working_copy
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.git.checkout import Checkout
from aisecops_server.adapters.git.shipped import library_root, shipped_policy
from aisecops_server.adapters.opa import binary
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.adapters.system import SystemClock
from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.policy.accepted_flips import Accepted
from aisecops_server.domain.policy.impact import Policies
from aisecops_server.domain.policy.policy_draft import drafted_tree
from aisecops_server.domain.policy.waivers import Waiver
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.ports import Clock
from aisecops_server.ports.checking import CheckedPolicy
from aisecops_server.settings import Settings
from aisecops_server.usecases.policy.check_policy import CheckPolicy
from aisecops_server.usecases.replays.compare_policies import CompareMeanings

CONFTEST = "conftest"
_KEY = "check"
# Tests of a whole library, on a machine that does other things too.
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Checking:
    """Everything about checking that a process can do, composed."""

    check: CheckPolicy
    formatter: FormatCheck
    build: BuildCheck
    cost: MeasureCost
    rules: ReadRules
    clock: Clock

    @property
    def today(self) -> date:
        """Return the day (UTC) by which entries expire."""
        return datetime.fromtimestamp(self.clock.now_ns() / 1e9, tz=UTC).date()


def conftest_program() -> Path | None:
    """Return where Conftest is installed, on the path or beside this Python, if it is."""
    beside = Path(sys.executable).parent / CONFTEST
    found = shutil.which(CONFTEST) or (str(beside) if beside.is_file() else "")
    return Path(found) if found else None


@contextlib.asynccontextmanager
async def checking(
    settings: Settings,
    *,
    clock: Clock | None = None,
    remember: Path | None = None,
    conftest: Callable[[], Path | None] = conftest_program,
) -> AsyncIterator[Checking]:
    """Compose the checks and take their workshops down again; ``remember`` is where what was found is kept.

    ``conftest`` finds Conftest; where it finds none the engine looks at the same conditions.

    Raises:
        EngineUnavailableError: there is no usable engine.
        RepositoryUnavailableError: the installation carries no policy library.
    """
    opa = (await asyncio.to_thread(binary.locate, settings.engine_dir, given=settings.engine_path)).path
    cli, root = OpaCli(lambda: opa, timeout_seconds=_SECONDS), library_root()
    library = Library.load(root / "rego")
    workshops = Workshops(library)
    formatter, lint = FormatCheck(cli, workshops), LintCheck(cli, workshops, library=library)
    build = BuildCheck(
        library=root / "rego",
        binary=lambda: opa,
        signer=lambda directory: open_key(directory, _KEY),
        compile_tables=compile_tables,
    )
    checks = (
        formatter,
        CompileCheck(cli, workshops, library=library, compile_tables=compile_tables),
        lint,
        ConftestCheck(cli, policies=root / CONFTEST, capabilities=library.capabilities, program=conftest),
        TestCheck(cli, workshops),
        RulesCheck(cli, workshops, lint),
        GoldenCheck(cli, workshops, library=library, compile_tables=compile_tables),
        build,
        ChangesCheck(CompareMeanings(OpaPolicyReader(cli))),
    )
    made = clock or SystemClock()
    memory = FileMemory(remember or settings.engine_dir.parent / "checks")
    product = f"{metadata.version('aisecops')} {library.digest} {await asyncio.to_thread(_identity, opa)}"
    try:
        cost = MeasureCost(cli, library=library, compile_tables=compile_tables)
        yield Checking(
            CheckPolicy(checks, memory, made, product), formatter, build, cost, ReadRules(cli, workshops), made
        )
    finally:
        await workshops.close()


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _as_committed(path: Path) -> bytes:
    """Return what Git, and so the Git host, has of a file: of a link its own text, and not what it leads to."""
    return os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()


def checked_policy(directory: Path, *, today: date, base: str = "") -> tuple[CheckedPolicy, tuple[Waiver, ...]]:
    """Return the policy in a working copy with what its ``base``, a revision of its checkout, was; and its waivers.

    Raises:
        InvalidRequestError: there is no policy.
        BundleRejectedError: the waivers cannot be read, or the base holds what policy may not.
        UnknownRevisionError: there is no such revision.
        RepositoryUnavailableError: the directory is no Git checkout, and a base is named.
    """
    tree = drafted_tree(read_working_copy(directory))
    before: PolicyTree | None = None
    if base:
        checkout = Checkout(directory)
        before = checkout.tree(checkout.common(base))
    shipped = shipped_policy()
    policy = CheckedPolicy(
        name=directory.resolve().name,
        tree=tree,
        today=today,
        own=frozenset(path for path, text in tree.files.items() if _is_own(path, text, shipped)),
        owners={place: _as_committed(directory / place) for place in PLACES if _is_there(directory / place)},
        base=before,
        base_name=f"{base} ({before.commit[:12]})" if before else "",
        shipped=shipped,
    )
    return policy, waivers_of(tree)


def accepted_of(tree: PolicyTree, *bases: PolicyTree) -> Accepted:
    """Return the flips that a policy accepts, and those that one of its bases has already.

    Raises:
        BundleRejectedError: they cannot be read.
    """
    return Accepted(accepted_in(tree), tuple(entry for base in bases for entry in accepted_in(base)))


def policies_of(base: PolicyTree) -> Policies:
    """Return what is known of a base without evaluating: severities of its rules, tenants of its agents, its gates.

    Raises:
        BundleRejectedError: its files cannot be read.
    """
    agents = next((parse_yaml(path, base.files[path]) for name, path in table_files(base) if name == "agents"), {})
    listed = agents.items() if isinstance(agents, dict) else ()
    tenants = {str(agent): str(entry.get("tenant", "default")) for agent, entry in listed if isinstance(entry, dict)}
    severities = {rule: facts.severity for rule, facts in facts_of_rules(base).items()}
    return Policies(severities, tenants, gates_of(base))


def _is_own(path: str, text: bytes, shipped: dict[str, bytes]) -> bool:
    return path.startswith("rego/aisecops/") and path.endswith(".rego") and shipped.get(path) != text


def _identity(program: Path) -> str:
    # Another engine finds other things; where it lies says nothing of which it is.
    stat = program.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
