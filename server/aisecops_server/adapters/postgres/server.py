"""What a database server must be before the log is entrusted to it, and the schema in it.

A setting by which a server may lose what it acknowledged, or a role that could take away what protects the record, is
refused and not worked around. Migrations are files, applied in order by whoever owns the schema, each in one
transaction; programs one version apart work on the same schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.postgres.roles import role_problems
from aisecops_server.domain.errors import LogUnavailableError

OLDEST = 150000
# A commit is durable when it is acknowledged only with these.
_WANTED = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "remote_apply"),
    "server_encoding": ("UTF8",),
    "transaction_read_only": ("off",),
}
_ENCRYPTED = """
    SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
        OR inet_server_addr() IS NULL OR host(inet_server_addr()) IN ('127.0.0.1', '::1')"""

# Who makes a role is a member of it in later versions, without being able to use it.
_OTHERS = """
    SELECT 1 FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid JOIN pg_roles AS r ON r.oid = m.member
    WHERE g.rolname = ? AND r.rolname <> ? AND pg_has_role(r.oid, g.oid, 'USAGE') LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    script: str


def migrations() -> list[Migration]:
    """Return every step, in order."""
    files = sorted(resources.files(__package__).joinpath("migrations").iterdir(), key=lambda file: file.name)
    found = [file for file in files if file.name.endswith(".sql")]
    return [Migration(int(file.name[:4]), file.name[5:-4], file.read_text()) for file in found]


def schema_version(connection: PostgresConnection) -> int:
    """Return the version of the schema that is there; 0 where there is none."""
    if connection.execute("SELECT to_regclass(?)::text", (f"{connection.place.schema}.migration",)).get is None:
        return 0
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM migration").get)


def migrate(connection: PostgresConnection) -> list[int]:
    """Bring the schema up to date and return the steps that were taken; several may try at once.

    Raises:
        LogUnavailableError: a newer program made the schema.
    """
    place = connection.place
    with connection:
        connection.execute("SELECT pg_advisory_xact_lock(?)", (place.lock,))
        connection.script(f"CREATE SCHEMA IF NOT EXISTS {place.schema}; SET LOCAL search_path TO {place.schema}")
        before = schema_version(connection)
        steps = migrations()
        if before > steps[-1].version:
            raise _wrong_version(before, steps[-1].version)
        taken = [step for step in steps if step.version > before]
        for step in taken:
            connection.script(place.fitted(step.script))
            connection.execute("INSERT INTO migration (version, name) VALUES (?, ?)", (step.version, step.name))
    return [step.version for step in taken]


def make_login(connection: PostgresConnection) -> str:
    """Return the role of a tenant's control planes, made where it is not there: without anything to log in with.

    Raises:
        LogUnavailableError: who asks may make no roles.
    """
    login = connection.place.login
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = ?", (login,)).get is None:
        connection.script(f"CREATE ROLE {login} LOGIN")
    return login


def is_written_by_others(connection: PostgresConnection) -> bool:
    """Return whether roles were let in to write the tenant's log, other than the one that would be made for it."""
    return connection.execute(_OTHERS, (connection.place.writer, connection.place.login)).get is not None


def allow(connection: PostgresConnection, role: str, *, group: str) -> None:
    """Let a role that can log in do what ``group`` may.

    Raises:
        LogUnavailableError: there is no such role.
    """
    quoted = connection.execute("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = ?", (role,)).get
    if quoted is None:
        raise LogUnavailableError(f"the server has no role {role}", hint="Make it first: CREATE ROLE … LOGIN")
    connection.script(f"GRANT {group} TO {quoted}")


def making(place: Place) -> str:
    """Return the command that makes a log at ``place``."""
    return f"aisecops db init{f' --tenant {place.tenant}' if place.tenant else ''}"


def require_schema(connection: PostgresConnection) -> None:
    """Refuse a database without the log, or with that of another version.

    Raises:
        LogUnavailableError: it is one.
    """
    version, wanted, place = schema_version(connection), migrations()[-1].version, connection.place
    if not version:
        missing = f"no log of the tenant {place.tenant}" if place.tenant else "no log"
        raise LogUnavailableError(f"the database holds {missing}", hint=f"Its owner makes it: '{making(place)}'")
    # One migration ahead is a program that is being replaced: a migration works with the program before it.
    if not wanted <= version <= wanted + 1:
        raise _wrong_version(version, wanted)


def problems(connection: PostgresConnection) -> list[str]:
    """Return what speaks against entrusting the log to this server, by this role."""
    found = []
    if (number := int(connection.execute("SELECT current_setting('server_version_num')").get)) < OLDEST:
        found.append(f"the server is version {number // 10_000}, {OLDEST // 10_000} or newer is needed")
    for name, wanted in _WANTED.items():
        if (value := connection.execute("SELECT current_setting(?)", (name,)).get) not in wanted:
            found.append(f"{name} is {value}, it must be {' or '.join(wanted)}")
    if not connection.execute(_ENCRYPTED).get:
        found.append("the connection is not encrypted; add sslmode=verify-full and sslrootcert=FILE to the address")
    return [*found, *role_problems(connection)]


def require_sound(connection: PostgresConnection) -> None:
    """Refuse a server that could lose what it acknowledged, or a role that could change what was recorded.

    Raises:
        LogUnavailableError: it is one, or it has no schema, or another one.
    """
    require_schema(connection)
    if found := problems(connection):
        raise LogUnavailableError(
            f"the log is not entrusted to this database: {'; '.join(found)}", hint="'aisecops db status' says it all"
        )


def _wrong_version(found: int, wanted: int) -> LogUnavailableError:
    hint = "Its owner runs 'aisecops db migrate'" if found < wanted else "Start a newer program"
    return LogUnavailableError(f"the schema of the database is version {found}, this program knows {wanted}", hint=hint)
