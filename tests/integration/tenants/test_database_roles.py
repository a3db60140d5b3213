"""What a tenant's role of the database reaches: all of its own log and nothing of another's, whoever writes the SQL."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aisecops_server.adapters.postgres import server
from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.event_log import open_log
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.bootstrap.databases import LetIn, prepare_databases
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_server.domain.errors import InvalidRequestError, LogUnavailableError
from aisecops_server.settings import Settings

from tests.scenes.log.records import Records
from tests.scenes.servers.postgres_servers import PostgresServer

pytestmark = pytest.mark.timeout(240)

SHOP, BANK = "shop", "bank-eu"
_NUMBERS = itertools.count(1)
_TABLES = """
    SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = '{}' AND c.relkind IN ('r', 'p') ORDER BY 1"""


# A table that is named by its number and not by its schema.
_BY_NUMBER = """
    SELECT table_to_xml(c.oid, true, false, '') FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relname = 'event' AND n.nspname LIKE '%bank_eu'"""


@dataclass(frozen=True)
class Shared:
    """A database with the logs of two tenants, and that of a control plane without tenants."""

    server: PostgresServer
    name: str
    settings: Settings

    def place(self, tenant: str, role: str = "") -> Place:
        return Place.of_tenant(self.server.url(self.name, role) if role else self.server.address(self.name), tenant)

    def owner(self) -> str:
        return self.server.url(self.name, "administrator")

    def role(self, *grants: str) -> str:
        """Return a role of its own that writes the shop's log, and was given more."""
        name = f"given_{os.getpid()}_{next(_NUMBERS)}"
        groups = self.place(SHOP).writer
        for statement in (f"CREATE ROLE {name} LOGIN", f"GRANT {groups} TO {name}", *grants):
            self.server.run(statement.format(role=name, bank=self.place(BANK).schema, database=self.name), self.name)
        return name

    def refusal(self, role: str) -> str:
        with pytest.raises(LogUnavailableError) as refused:
            open_log(self.place(SHOP, role))
        return refused.value.message


def settings_of(root: Path, *tenants: str, **others: object) -> Settings:
    file = root / "tenants.yaml"
    file.write_text("".join(f"{name}: {{repository: /p}}\n" for name in tenants))
    return Settings.model_validate({"state_dir": root / "s", "tenants_file": file, **others})


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    name = postgres.database()
    settings = settings_of(tmp_path_factory.mktemp("house"), SHOP, BANK, database_url=postgres.address(name))
    made = Shared(postgres, name, settings)
    prepare_databases(settings, made.owner(), LetIn())
    for tenant in (SHOP, BANK):
        _append(made.place(tenant))
    return made


def _append(place: Place) -> int:
    """Append a decision and return where it ended."""

    async def append() -> int:
        log = await asyncio.to_thread(open_log, place)
        try:
            return (await log.append(Records(prefix=f"{next(_NUMBERS)}-").record())).log_index
        finally:
            await log.close()

    return asyncio.run(append())


def test_each_has_a_log_of_its_own(shared: Shared) -> None:
    before = {tenant: _size(shared, tenant) for tenant in (SHOP, BANK)}
    _append(shared.place(SHOP))
    assert _size(shared, SHOP) > before[SHOP] > 0
    assert _size(shared, BANK) == before[BANK] > 0
    ids = {
        shared.server.run(f"SELECT log_id FROM {_schema(tenant)}.log_head", shared.name)[0] for tenant in (SHOP, BANK)
    }
    assert len(ids) == 2


def _schema(tenant: str) -> str:
    return Place("", tenant).schema


def _size(shared: Shared, tenant: str) -> int:
    [(size,)] = shared.server.run(f"SELECT size FROM {_schema(tenant)}.log_head", shared.name)
    assert isinstance(size, int)
    return size


@pytest.mark.parametrize(("own", "other"), [(SHOP, _schema(BANK)), (BANK, _schema(SHOP)), (SHOP, "aisecops")])
def test_a_tenants_role_reaches_every_table_of_its_own_and_none_of_another(
    shared: Shared, own: str, other: str
) -> None:
    role = shared.place(own).role
    tables = [name for (name,) in shared.server.run(_TABLES.format(other), shared.name)]
    assert len(tables) > 20

    async def reaching() -> None:
        connection = await asyncpg.connect(shared.server.url(shared.name, role))
        try:
            for table in tables:
                await connection.fetch(f"SELECT * FROM {_schema(own)}.{table}")
                for statement in (
                    f"SELECT count(*) FROM {other}.{table}",
                    f"INSERT INTO {other}.{table} DEFAULT VALUES",
                    f"DELETE FROM {other}.{table}",
                    f"TRUNCATE {other}.{table}",
                    f"COPY {other}.{table} TO STDOUT",
                    f"DO $$ BEGIN LOCK TABLE {other}.{table} IN SHARE MODE; END $$",
                ):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(reaching())


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE aisecops_tenant_bank_eu",
        "SET ROLE aisecops_writer_bank_eu",
        "SET ROLE administrator",
        "SET SESSION AUTHORIZATION administrator",
        "SELECT set_config('role', 'aisecops_tenant_bank_eu', false)",
        "RESET ROLE; SELECT count(*) FROM aisecops_tenant_bank_eu.event",
        "SET ROLE NONE; SELECT count(*) FROM aisecops_tenant_bank_eu.event",
        "SET search_path TO aisecops_tenant_bank_eu; SELECT nextval('aisecops_tenant_bank_eu.term_id_seq')",
        "SELECT aisecops_tenant_bank_eu.as_json('{}')",
        _BY_NUMBER,
        "SELECT pg_read_file('postgresql.auto.conf')",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "CREATE SCHEMA aisecops_tenant_farm",
        "CREATE TABLE aisecops_tenant_shop.more (x int)",
        "GRANT aisecops_writer_shop TO aisecops_tenant_bank_eu",
    ],
)
def test_no_statement_of_a_tenant_becomes_another(shared: Shared, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        _as_shop(shared, statement)


def _as_shop(shared: Shared, *statements: str) -> None:
    async def asking() -> None:
        connection = await asyncpg.connect(shared.server.url(shared.name, shared.place(SHOP).role))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(asking())


def test_a_tenant_ends_its_own_sessions_and_none_of_another(shared: Shared) -> None:
    ended = "SELECT pg_terminate_backend({})"
    with contextlib.closing(PostgresConnection(shared.place(SHOP))) as own:
        _as_shop(shared, ended.format(own.execute("SELECT pg_backend_pid()").get))
    with contextlib.closing(PostgresConnection(shared.place(BANK))) as other:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            _as_shop(shared, ended.format(other.execute("SELECT pg_backend_pid()").get))
        assert other.execute("SELECT 1").get == 1


@pytest.mark.parametrize(
    ("grants", "why"),
    [
        (("GRANT aisecops_reader_bank_eu TO {role}",), "not its own: aisecops_tenant_bank_eu"),
        # What it has only after SET ROLE counts as well.
        (
            (
                "CREATE ROLE {role}_between NOINHERIT",
                "GRANT {role}_between TO {role}",
                "GRANT aisecops_writer_bank_eu TO {role}_between",
            ),
            "not its own: aisecops_tenant_bank_eu",
        ),
        (("GRANT aisecops_tenant_bank_eu TO {role}",), "not its own: aisecops_tenant_bank_eu"),
        (("GRANT aisecops_reader TO {role}",), "not its own: aisecops;"),
        (("GRANT USAGE ON SCHEMA {bank} TO {role}",), "not its own: aisecops_tenant_bank_eu"),
        (("GRANT SELECT ON {bank}.budget TO {role}",), "not its own: aisecops_tenant_bank_eu"),
        (("GRANT SELECT (body) ON {bank}.event TO {role}",), "not its own: aisecops_tenant_bank_eu"),
        (("GRANT administrator TO {role}",), "owns the log"),
        (("ALTER ROLE {role} CREATEROLE",), "more on the server"),
        (("ALTER ROLE {role} REPLICATION",), "more on the server"),
        (("GRANT pg_read_all_data TO {role}",), "not its own: aisecops, aisecops_tenant_bank_eu"),
        (("GRANT pg_execute_server_program TO {role}",), "more on the server"),
        (("GRANT pg_signal_backend TO {role}",), "pg_signal_backend"),
        (("GRANT CREATE ON DATABASE {database} TO {role}",), "more on the server"),
        (("GRANT UPDATE ON aisecops_tenant_shop.event TO {role}",), "may change or delete events"),
        (("GRANT UPDATE (body) ON aisecops_tenant_shop.event TO {role}",), "may change or delete events"),
        (("GRANT TRUNCATE ON aisecops_tenant_shop.event TO {role}",), "may change or delete events"),
        (
            (
                "CREATE ROLE {role}_between NOINHERIT",
                "GRANT {role}_between TO {role}",
                "GRANT DELETE ON aisecops_tenant_shop.event TO {role}_between",
            ),
            "may change or delete events",
        ),
        (("GRANT CREATE ON SCHEMA aisecops_tenant_shop TO {role}",), "may make things in the schema"),
    ],
)
def test_a_role_that_reaches_further_does_not_start(shared: Shared, grants: tuple[str, ...], why: str) -> None:
    role = shared.role(*grants)
    try:
        assert why in shared.refusal(role)
    finally:
        names = f"SELECT rolname FROM pg_roles WHERE rolname IN ('{role}', '{role}_between')"
        for (name,) in shared.server.run(names):
            shared.server.run(f"DROP OWNED BY {name}", shared.name)
            shared.server.run(f"DROP ROLE {name}", shared.name)


def test_a_function_that_was_planted_in_a_schema_is_not_what_the_owner_calls(shared: Shared) -> None:
    role = shared.role("GRANT CREATE ON SCHEMA aisecops_tenant_shop TO {role}")
    planted = """
        CREATE FUNCTION aisecops_tenant_shop.to_regclass(text) RETURNS regclass LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'called by %', current_user; END $$"""
    try:
        asyncio.run(_execute(shared.server.url(shared.name, role), planted))
        done = prepare_databases(shared.settings, shared.owner(), None)
        assert {name: each.migrations for name, each in done.items()} == {SHOP: (), BANK: ()}
    finally:
        shared.server.run(f"DROP OWNED BY {role}", shared.name)
        shared.server.run(f"DROP ROLE {role}", shared.name)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def test_a_role_that_only_writes_its_own_log_starts_and_one_that_is_acted_as_does_not(shared: Shared) -> None:
    role = shared.role()
    assert _append(shared.place(SHOP, role)) > 0
    for statement in (f"CREATE ROLE {role}_behind LOGIN NOINHERIT", f"GRANT {role} TO {role}_behind"):
        shared.server.run(statement, shared.name)
    acting = Place(f"{shared.server.url(shared.name, f'{role}_behind')}&role={role}", SHOP)
    with pytest.raises(LogUnavailableError, match=f"the session is {role}_behind's"):
        open_log(acting)


def test_the_log_without_tenants_is_as_apart(shared: Shared) -> None:
    url = shared.server.url(shared.name)
    assert _append(Place(url)) > 0
    shared.server.run(f"GRANT USAGE ON SCHEMA {_schema(BANK)} TO replica", shared.name)
    try:
        with pytest.raises(LogUnavailableError, match="not its own: aisecops_tenant_bank_eu"):
            open_log(url)
    finally:
        shared.server.run(f"REVOKE USAGE ON SCHEMA {_schema(BANK)} FROM replica", shared.name)


_MADE = """
    SELECT c.relname || ' ' || a.attname || ' ' || format_type(a.atttypid, NULL) || ' ' || a.attnotnull
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = '{0}'::regnamespace AND c.relkind IN ('r', 'S')
    UNION ALL SELECT relname || ' ' || array_to_string(relacl, ',') FROM pg_class
    WHERE relnamespace = '{0}'::regnamespace AND relacl IS NOT NULL
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = '{0}'
    UNION ALL SELECT pg_get_constraintdef(oid) || conname FROM pg_constraint WHERE connamespace = '{0}'::regnamespace
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = '{0}'::regnamespace
    UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = '{0}'::regnamespace AND NOT tgisinternal"""


def test_what_is_made_for_a_tenant_is_what_is_made_without(shared: Shared) -> None:
    without, bank = (
        {said for (said,) in shared.server.run(_MADE.format(name), shared.name)} for name in ("aisecops", _schema(BANK))
    )
    assert len(without) > 200
    assert bank == {shared.place(BANK).fitted(str(said)) for said in without}


def test_a_migration_of_one_tenant_does_not_wait_for_that_of_another(shared: Shared) -> None:
    with contextlib.closing(PostgresConnection(Place(shared.owner(), SHOP))) as busy, busy:
        busy.execute("SELECT pg_advisory_xact_lock(?)", (busy.place.lock,))
        with contextlib.closing(PostgresConnection(Place(shared.owner(), BANK))) as other:
            other.script("SET lock_timeout TO '1s'")
            assert server.migrate(other) == []
        with contextlib.closing(PostgresConnection(Place(shared.owner(), SHOP))) as same:
            same.script("SET lock_timeout TO '100ms'")
            with pytest.raises(Exception, match="lock timeout"):
                server.migrate(same)


def test_an_operator_makes_the_logs_of_all_tenants_or_of_one_and_may_do_so_again(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = next(_NUMBERS)
    farm, mill = f"farm-{number}", f"mill-{number}"
    name, roles = postgres.empty_database(), [Place("", tenant).login for tenant in (farm, mill)]
    postgres.run(f"CREATE ROLE owner_{number} LOGIN CREATEROLE")
    postgres.run(f"ALTER DATABASE {name} OWNER TO owner_{number}")
    owner = postgres.url(name, f"owner_{number}")
    settings = settings_of(tmp_path, farm, mill)
    monkeypatch.setenv("AISECOPS_TENANTS_FILE", str(settings.tenants_file))
    monkeypatch.setenv("AISECOPS_DATABASE_URL", postgres.address(name))

    def asked(*words: str) -> tuple[int, dict[str, Any]]:
        code = run(["db", *words, "--state-dir", str(tmp_path / "s"), "-o", "json"])
        return code, json.loads(capsys.readouterr().out)

    code, found = asked("status")
    assert code == ExitCode.FAILURE
    assert set(found) == {"server", "role", "schema", "log", "problems", "tenants"}
    for tenant, problem in zip((farm, mill), found["problems"], strict=True):
        assert problem.startswith(f"{tenant}: ")
        assert f"aisecops db init --tenant {tenant}'" in problem
    code, done = asked("init", "--url", owner, "--tenant", farm)
    assert code == ExitCode.OK
    versions = [step.version for step in server.migrations()]
    assert done["tenants"] == [
        {"tenant": farm, "schema": roles[0], "migrations": versions, "writers": [roles[0]], "readers": []}
    ]
    code, found = asked("status")
    assert (code, [bool(each["problems"]) for each in found["tenants"]]) == (ExitCode.FAILURE, [False, True])
    for expected in ([[], versions], [[], []]):
        code, done = asked("init", "--url", owner)
        assert (code, [each["migrations"] for each in done["tenants"]]) == (ExitCode.OK, expected)
        assert [each["writers"] for each in done["tenants"]] == [[role] for role in roles]
    code, done = asked("migrate", "--url", owner)
    assert (code, [each["migrations"] for each in done["tenants"]]) == (ExitCode.OK, [[], []])
    code, found = asked("status")
    assert (code, found["problems"]) == (ExitCode.OK, [])
    assert [(each["role"], each["log"]["size"]) for each in found["tenants"]] == [(role, 0) for role in roles]
    code, refused = asked("init", "--url", owner, "--writer", "replica")
    assert (code, "several tenants" in str(refused["error"])) == (ExitCode.USAGE, True)
    assert asked("status", "--tenant", "nobody")[0] != ExitCode.OK


def test_one_role_for_all_tenants_is_refused_before_anything_is_made(shared: Shared) -> None:
    with pytest.raises(InvalidRequestError, match="several tenants"):
        prepare_databases(shared.settings, shared.owner(), LetIn(readers=("auditor",)))


def test_nobody_is_let_in_unasked_where_somebody_was_named(postgres: PostgresServer, tmp_path: Path) -> None:
    mine = f"mine-{next(_NUMBERS)}-{os.getpid()}"
    settings = settings_of(tmp_path, mine).model_copy(update={"tenant": mine})
    name, place = postgres.database(), Place("", mine)
    named = f"named_{next(_NUMBERS)}_{os.getpid()}"
    postgres.run(f"CREATE ROLE {named} LOGIN")
    owner = postgres.url(name, "administrator")
    assert prepare_databases(settings, owner, LetIn(writers=(named,)))[mine].let_in == LetIn(writers=(named,))
    assert prepare_databases(settings, owner, LetIn(readers=(named,)))[mine].let_in == LetIn(readers=(named,))
    assert postgres.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{place.login}'") == []
