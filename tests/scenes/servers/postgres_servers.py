"""A real PostgreSQL server, started by the tests themselves as a user without privileges, and databases on it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from aisecops_server.adapters.postgres import server
from aisecops_server.adapters.postgres.connection import PostgresConnection

_ADMIN, REPLICA, READER, STRANGER = "administrator", "replica", "auditor", "stranger"
_TEMPLATE = "template_of_logs"
_NUMBERS = itertools.count(1)
_STILL_ENDING = b"pre-existing shared memory block"
_SECONDS = 90


def missing() -> str:
    """Why no server can be had here, or an empty string."""
    if binaries() is None:
        return "there is no PostgreSQL server 15 or newer here; 'make database' installs Debian's"
    if os.geteuid() == 0 and _unprivileged() is None:
        return "PostgreSQL does not run as root, and there is no other user to run it as"
    return ""


@functools.cache
def binaries() -> Path | None:
    """The folder of the newest server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found and (path := shutil.which("initdb")):
        found = [Path(path)]
    return found[-1].parent if found and shutil.which("postgres", path=str(found[-1].parent)) else None


@dataclass
class PostgresServer:
    """One server, on a Unix socket in a folder of its own."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str, role: str = REPLICA) -> str:
        return f"postgresql://{role}@/{database}?host={self.folder}"

    def address(self, database: str) -> str:
        """Return where a database is, without a role."""
        return f"postgresql:///{database}?host={self.folder}"

    @property
    def socket(self) -> Path:
        """Where it listens, for who connects by another way."""
        return self.folder / ".s.PGSQL.5432"

    def start(self, **settings: str) -> None:
        options = [f"-c{name}={value}" for name, value in settings.items()]
        command = [
            str(binaries() / "postgres"),  # type: ignore[operator]
            *("-D", str(self.folder / "data"), "-k", str(self.folder), "-clisten_addresses="),
            *("-cmax_connections=200", "-cshared_buffers=64MB", *options),
        ]
        until = time.monotonic() + _SECONDS
        while not self._started(command) and time.monotonic() < until:
            continue

    def _started(self, command: list[str]) -> bool:
        """Start it; false when what is left of one that was killed is still ending."""
        log = self.folder / "server.log"
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said, **_user())
        try:
            asyncio.run(self._answering())
        except RuntimeError:
            if _STILL_ENDING not in log.read_bytes()[before:]:
                raise
            return False
        return True

    async def _answering(self) -> None:
        async with asyncio.timeout(_SECONDS):
            while True:
                try:
                    connection = await asyncpg.connect(self.url("postgres", _ADMIN))
                except (OSError, asyncpg.PostgresError) as error:
                    if self.process is None or self.process.poll() is not None:
                        raise RuntimeError((self.folder / "server.log").read_text()) from error
                    await asyncio.sleep(0.05)
                else:
                    await connection.close()
                    return

    def kill(self) -> None:
        """End it without a word, with all that serves a connection."""
        assert self.process
        self.process.kill()
        self.process.wait(_SECONDS)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(2)  # fast: connections are closed
            self.process.wait(_SECONDS)

    def run(self, sql: str, database: str = "postgres", role: str = _ADMIN) -> list[tuple[object, ...]]:
        async def running() -> list[tuple[object, ...]]:
            connection = await asyncpg.connect(self.url(database, role))
            try:
                return [tuple(row.values()) for row in await connection.fetch(sql)]
            finally:
                await connection.close()

        return asyncio.run(running())

    def database(self) -> str:
        """Make a database with an empty log and return its name."""
        name = f"log_{os.getpid()}_{next(_NUMBERS)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return name

    def copy(self, database: str) -> str:
        """Copy a database that nobody uses; return the name of the copy."""
        name = f"copy_{os.getpid()}_{next(_NUMBERS)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {database}")
        return name

    def empty_database(self) -> str:
        """Make a database without a log and return its name."""
        name = f"empty_{os.getpid()}_{next(_NUMBERS)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return name


@contextlib.contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """Start a server with a template of an empty log; ends with the context."""
    folder = Path(tempfile.mkdtemp(prefix="aisecops-pg-"))
    user = _user()
    if user:
        shutil.chown(folder, user["user"], user["group"])
    server_ = PostgresServer(folder)
    try:
        command = ["initdb", "-D", str(folder / "data"), "-U", _ADMIN, "-E", "UTF8", "--locale=C", "-A", "trust", "-N"]
        command[0] = str(binaries() / "initdb")  # type: ignore[operator]
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS, cwd=folder, **user)
        server_.start(**settings)
        server_.run(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0 ENCODING 'UTF8'")
        with contextlib.closing(PostgresConnection(server_.url(_TEMPLATE, _ADMIN))) as owner:
            server.migrate(owner)
            for role, group in ((REPLICA, owner.place.writer), (READER, owner.place.reader)):
                owner.script(f"CREATE ROLE {role} LOGIN")
                server.allow(owner, role, group=group)
            owner.script(f"CREATE ROLE {STRANGER} LOGIN")
        yield server_
    finally:
        server_.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process; skipped, with the reason, where none can be had."""
    if why := missing():
        pytest.skip(reason=why)
    with postgres_server() as one:
        yield one


def _unprivileged() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _user() -> dict[str, int]:
    if os.geteuid() != 0:
        return {}
    entry = _unprivileged()
    assert entry
    return {"user": entry.pw_uid, "group": entry.pw_gid}
