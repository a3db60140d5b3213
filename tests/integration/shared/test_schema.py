"""The schema on a server has what the one in a file has: tables, columns in their order, look-ups by name."""

from __future__ import annotations

import apsw
from aisecops_server.adapters.sqlite.schema import MIGRATIONS

from tests.scenes.servers.postgres_servers import PostgresServer

# Kept by each store in its own way: what was migrated, what is live, what was announced, and what is rolled out.
OWN = {"migration", "activation", "announcement", "rollout", "rollout_share", "proposal"}
COLUMNS = """
    SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'aisecops'
    ORDER BY table_name, ordinal_position"""
INDEXES = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'aisecops'"


def embedded() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for script in MIGRATIONS:
        connection.execute(script)
    return connection


def test_every_table_has_the_same_columns(postgres: PostgresServer) -> None:
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    columns = "SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c WHERE m.name = ?"
    file = embedded()
    names = {name for (name,) in file.execute(tables)} - OWN
    wanted = [tuple(row) for name in sorted(names) for row in file.execute(columns, (name,))]
    found = [row for row in postgres.run(COLUMNS, postgres.database()) if row[0] not in OWN]
    assert sorted(found, key=lambda row: row[0]) == wanted  # type: ignore[arg-type,return-value]


def test_what_is_found_by_an_index_in_a_file_is_on_a_server(postgres: PostgresServer) -> None:
    indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND name NOT LIKE 'sqlite_%'"
    wanted = {name for (name,) in embedded().execute(indexes)}
    assert wanted - {name for (name,) in postgres.run(INDEXES, postgres.database())} == set()


def test_one_value_that_no_text_can_hold_hides_nothing_beside_it(postgres: PostgresServer) -> None:
    """What an agent wrote stands escaped in a body; who lists by another field of it must still be answered."""
    name = postgres.database()
    # As an escape, after an escaped backslash, twice; and as words that only look like one.
    for said in (r"\u0000", r"a\\\u0000", r"\u0000\u0000b", r"\\u0000", "plain"):
        body = f'{{"details": {{"severity": "high", "said": "{said}"}}}}'
        assert postgres.run(f"SELECT aisecops.json_extract('{body}', '$.details.severity')", name) == [("high",)]
    looks = r"""SELECT aisecops.json_extract('{"details": {"said": "\\u0000"}}', '$.details.said')"""
    assert postgres.run(looks, name) == [(r"\u0000",)]
    listed = r"""SELECT value FROM aisecops.listed('["agent-a", "b\u0000"]')"""
    assert postgres.run(listed, name) == [("agent-a",), ("b\ufffd",)]
