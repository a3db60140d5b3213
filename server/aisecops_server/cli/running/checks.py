"""What ``doctor`` looks at on this machine, each with its state, what was found and how to mend it.

Changes nothing. A check that could not run is ``skipped``, which is never shown or counted as passed.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.output import show
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.adapters.opa.management import EngineReport
    from aisecops_server.settings import Settings

OK, WARN, FAIL, SKIPPED = "ok", "warn", "fail", "skipped"
MINIMUM_PYTHON = (3, 11)
MINIMUM_FREE_BYTES = 256 * 1024 * 1024
# Before this instant the software did not exist, so a clock that says so is wrong. 2026-01-01.
_EARLIEST_SECONDS = 1_767_225_600
_GIT_SECONDS = 10
# A certificate with less than this part of its life left should have been renewed.
_LEAST_LIFE_LEFT = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``ok``, ``warn``, ``fail`` or ``skipped``."""

    name: str
    state: str
    detail: str
    mend: str = ""


def all_checks(settings: Settings, advance: Callable[[int, int | None], None]) -> list[Check]:
    """Return every check, in the order in which things are needed; some wait for what does not answer."""
    looks: tuple[Callable[[], Check | list[Check]], ...] = (
        python_check,
        git_check,
        lambda: engine_checks(settings),
        sqlite_check,
        lambda: state_check(settings),
        lambda: space_check(settings),
        clock_check,
        lambda: repository_check(settings),
        lambda: log_check(settings),
        lambda: callers_check(settings),
        lambda: webhooks_check(settings),
        lambda: live_check(settings),
        lambda: running_engines_check(settings),
    )
    checks: list[Check] = []
    for done, look in enumerate(looks):
        advance(done, len(looks))
        found = look()
        checks += found if isinstance(found, list) else [found]
    return checks


def show_checks(checks: Sequence[Check]) -> None:
    """Print the checks."""
    rows = [asdict(check) for check in checks]

    def draw(console: Console) -> None:
        from aisecops_server.terminal.lists import check_table  # noqa: PLC0415

        console.print(check_table(console, rows))

    counts = {state: sum(check.state == state for check in checks) for state in (OK, WARN, FAIL, SKIPPED)}
    show({"checks": rows, "counts": counts}, draw)


def exit_code(checks: Sequence[Check]) -> ExitCode:
    """Return 1 when a check failed. Warnings and skipped checks are told, and do not fail the run."""
    return ExitCode.FAILURE if any(check.state == FAIL for check in checks) else ExitCode.OK


def python_check() -> Check:
    """Check the interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= MINIMUM_PYTHON:
        return Check("python", OK, f"{found} at {sys.executable}")
    return Check("python", FAIL, found, "Install Python 3.11 or newer")


def git_check() -> Check:
    """Check that git is there; policy is read with it."""
    found = shutil.which("git")
    if found is None:
        return Check("git", FAIL, "no git on PATH", "Install git 2.30 or newer")
    done = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)  # noqa: S603
    return Check("git", OK if done.returncode == 0 else FAIL, done.stdout.strip() or done.stderr.strip())


def engine_checks(settings: Settings) -> list[Check]:
    """Check the policy engine and what isolates it."""
    from aisecops_server.adapters.opa.doctor import doctor  # noqa: PLC0415

    found = doctor(settings.engine_dir, given=settings.engine_path, run_directory=settings.engine_run_dir)
    return [
        Check(item.name, OK if item.ok else FAIL if item.needed else WARN, item.detail, "" if item.ok else item.hint)
        for item in found
    ]


def sqlite_check() -> Check:
    """Check that the SQLite inside apsw is one that keeps what it acknowledged."""
    from aisecops_server.adapters.sqlite.database import require_sound_sqlite, sqlite_version  # noqa: PLC0415

    version = sqlite_version()
    return _judged("sqlite", lambda: require_sound_sqlite(version), version)


def state_check(settings: Settings) -> Check:
    """Check that the state directory can be written and is private."""
    path = settings.state_dir
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if why := _unwritable(existing):
        mend = "Mend its permissions, or its file system and mount it again; or give another --state-dir"
        return Check("state directory", FAIL, f"{existing} is not writable ({why})", mend)
    if existing != path:
        return Check("state directory", OK, f"{path} will be made")
    if path.stat().st_mode & 0o007:
        return Check("state directory", WARN, f"{path} is open to every user", f"chmod o-rwx {path}")
    return Check("state directory", OK, str(path))


def space_check(settings: Settings) -> Check:
    """Check that the log has room; it seals itself before the disk is full."""
    path = settings.state_dir
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    room = f"{free / 2**30:.1f} GiB" if free >= 2**30 else f"{free // 2**20} MiB"
    detail = f"{room} free on the disk of {existing}"
    if free < MINIMUM_FREE_BYTES:
        return Check("free space", FAIL, detail, "Make room: without it the log seals and nothing is decided")
    return Check("free space", OK, detail)


def clock_check() -> Check:
    """Check that the clock is not obviously wrong; tokens and records depend on it."""
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    now = SystemClock().now_ns() // 1_000_000_000
    shown = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(now))
    if now < _EARLIEST_SECONDS:
        return Check("clock", FAIL, f"{shown} is in the past", "Set the clock; let NTP keep it")
    return Check("clock", OK, shown)


def repository_check(settings: Settings) -> Check:
    """Check that the policy repository can be read and has the followed branch."""
    name = "policy repository"
    if not settings.repository:
        mend = "Make one with 'aisecops dev policy ./policy' and set AISECOPS_REPOSITORY"
        return Check(name, SKIPPED, "none is configured", mend)

    async def head() -> str:
        from aisecops_server.adapters.git.mirror import GitRepository  # noqa: PLC0415

        with TemporaryDirectory(prefix="aisecops-") as directory:
            repository = GitRepository(
                settings.repository,
                mirror=Path(directory) / "mirror.git",
                branch=settings.branch,
                fetch_timeout_seconds=settings.fetch_timeout_seconds,
            )
            await repository.fetch()
            return await repository.head()

    return _judged(name, lambda: f"{settings.branch} is at {asyncio.run(head())}")


def log_check(settings: Settings) -> Check:
    """Check that the audit log opens; a full check is ``log verify``."""
    from aisecops_server.cli.log.local_log import log_head  # noqa: PLC0415

    if settings.tenants_file:
        return Check("audit log", SKIPPED, "each tenant has one; 'aisecops log head --tenant NAME' opens it")
    if not settings.database_url and not settings.log_path.exists():
        return Check("audit log", SKIPPED, "there is none yet")
    return _judged("audit log", lambda: f"{log_head(settings).size:,} leaves; 'aisecops log verify' checks them all")


def callers_check(settings: Settings) -> Check:
    """Check that callers can be authenticated: certificates, identities, the provider's keys."""
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.bootstrap.authentication import examined  # noqa: PLC0415

    name, clock = "authentication", SystemClock()
    try:
        found = examined(settings, clock)
    except AisecopsError as error:
        return Check(name, FAIL, error.message, error.hint)
    if not (settings.token_keys or found.keys or found.life):
        return Check(name, SKIPPED, "the local issuer makes its key when a control plane first runs")
    if settings.token_keys and not found.keys:
        return Check(name, FAIL, f"no key in {settings.token_keys} can verify a token", "ES256, EdDSA or RS256 can")
    told = [f"keys of tokens: {found.keys}{'' if settings.token_keys else ', of the local issuer'}"]
    if found.provider:
        told.append(f"people sign in with {found.provider}")
    if found.life:
        ends = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(found.life.expires))
        told.append(f"certificate valid until {ends}")
        left, whole = found.life.expires - clock.now_ns() / 1e9, found.life.expires - found.life.begins
        if left < whole / _LEAST_LIFE_LEFT:
            return Check(name, WARN, ", ".join(told), "Renew it; it is taken without a restart")
    return Check(name, OK, ", ".join(told))


def webhooks_check(settings: Settings) -> Check:
    """Check that those who are to be told of requests for approval can be, and were."""
    from aisecops_server.adapters.webhooks.endpoint import read_endpoint  # noqa: PLC0415
    from aisecops_server.cli.log.local_log import notice_counts  # noqa: PLC0415

    name = "webhooks"
    try:
        endpoints = [read_endpoint(text).name for text in settings.webhooks]
    except AisecopsError as error:
        return Check(name, FAIL, error.message, error.hint)
    try:
        counts = notice_counts(settings) if settings.database_url or settings.log_path.exists() else None
    except AisecopsError as error:
        # What is wrong with the log, its own check says.
        return Check(name, SKIPPED, error.message)
    detail = f"set: {', '.join(endpoints)}" if endpoints else "none is set; people look with 'aisecops approvals list'"
    if counts is None or not (counts.pending or counts.dead):
        return Check(name, OK if endpoints else SKIPPED, detail)
    waiting = "1 message waits" if counts.pending == 1 else f"{counts.pending} messages wait"
    told = f"{detail}; {waiting}, {counts.dead} given up"
    if not counts.dead:
        return Check(name, OK, told)
    mend = "Mend the receiver; 'aisecops log tail' shows each message as notice.dead"
    return Check(name, WARN, f"{told}, the last because {counts.problem}", mend)


def live_check(settings: Settings) -> Check:
    """Check that a control plane answers and which policy revision it serves."""
    name = "control plane"
    if not settings.socket.exists():
        return Check(name, SKIPPED, f"none runs on {settings.socket}", "Start it with 'aisecops serve'")
    from aisecops_server.cli.running.live import live_revision  # noqa: PLC0415 - gRPC is only needed for this check

    return _judged(name, live_revision)


def running_engines_check(settings: Settings) -> Check:
    """Check that the engines that serve now answer, and let nobody change their policy."""
    from aisecops_server.adapters.opa.management import look  # noqa: PLC0415
    from aisecops_server.adapters.opa.profile import running_sockets  # noqa: PLC0415

    name = "running engines"
    sockets = running_sockets(settings.engine_run_dir)
    if not sockets:
        return Check(name, SKIPPED, "none runs in the state directory", "Start the control plane with 'aisecops serve'")

    async def reports() -> list[EngineReport]:
        return [await look(socket) for socket in sockets]

    def words() -> str:
        found = asyncio.run(reports())
        if not all(report.healthy and report.locked for report in found):
            raise EngineUnavailableError(
                "an engine is not healthy, or lets its policy be changed", hint="Restart the control plane"
            )
        return f"{len(found)} healthy, with their management locked"

    return _judged(name, words)


def _unwritable(directory: Path) -> str:
    """Return why nothing can be written there, or an empty string; a file is tried, because permissions do not tell."""
    try:
        TemporaryFile(dir=directory).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _judged(name: str, look: Callable[[], str | None], detail: str = "") -> Check:
    try:
        found = look()
    except AisecopsError as error:
        return Check(name, FAIL, error.message, error.hint)
    return Check(name, OK, detail or str(found))
