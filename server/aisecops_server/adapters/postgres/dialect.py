"""The statements of the store, as PostgreSQL reads them.

The tables of the store are written once, in SQL that SQLite reads. What differs is little and stands here: the marks
of bindings, ``INSERT OR …``, JSON paths and hints for a planner. Functions that PostgreSQL lacks are in the schema.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

PRIMARY_KEYS = {
    "trace": ("number",),
    "trace_figure": ("number",),
    "trace_posting": ("block", "term"),
    "edge_release": ("id",),
    "hold": ("hold_id",),
    "activation": ("id",),
}

# Columns of numbers that lists are compared with.
_NUMBERS = r"(?:d\.trace|d\.outcome_idx|number)"
_BINDING = re.compile(r"'(?:[^']|'')*'|::|\?|:[a-z_]+")
_REPLACED = (
    (re.compile(r"\bCROSS JOIN (\w+ AS \w+) ON\b"), r"JOIN \1 ON"),
    (re.compile(r"\bINDEXED BY \w+"), ""),
    (re.compile(r"(?<!\.)\bwindow\b"), '"window"'),
    (re.compile(r"\bx''"), "''::bytea"),
    (re.compile(r"CAST\('((?:[^']|'')*)' AS BLOB\)"), r"convert_to('\1', 'UTF8')"),
    (re.compile(r"CAST\(('\"id\":' \|\| json_quote\(i\.principal_id\)) AS BLOB\)"), r"convert_to(\1, 'UTF8')"),
    (re.compile(r"CAST\(([\w.]+) AS TEXT\)"), r"convert_from(\1, 'UTF8')"),
    (re.compile(r"(convert_from\([\w.]+, 'UTF8'\)|\brequest) (->>?) '\$\.([\w.]+)'"), "JSON"),
    (
        re.compile(r"\b((?:d\.trace|d\.outcome_idx|number)(?: NOT)? IN) \(SELECT value FROM json_each\("),
        r"\1 (SELECT value::bigint FROM listed(",
    ),
    # Blocks and terms are looked up by both at once, for which the planner has to see that they are few.
    (
        re.compile(r"\b(block|term) IN \(SELECT value FROM json_each\(\?\)\)"),
        r"\1 = ANY(ARRAY(SELECT value::bigint FROM listed(?)))",
    ),
    (re.compile(r"\bjson_each\("), "listed("),
    (re.compile(r"\bBEGIN IMMEDIATE\b"), "BEGIN"),
)
_INSERT_OR = re.compile(r"INSERT OR (IGNORE|REPLACE) INTO (\w+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with numbered bindings; ``names`` are theirs, in order, where they have names."""

    text: str
    names: tuple[str, ...]


@functools.lru_cache(maxsize=2048)
def translated(sql: str) -> Statement:
    """Return ``sql`` as PostgreSQL reads it."""
    names: list[str] = []
    count = 0

    def numbered(found: re.Match[str]) -> str:
        nonlocal count
        mark = found.group()
        if mark == "?":
            count += 1
            return f"${count}"
        if mark.startswith(":") and mark != "::":
            if mark[1:] not in names:
                names.append(mark[1:])
            return f"${names.index(mark[1:]) + 1}"
        return mark

    text = _BINDING.sub(numbered, _rewritten(sql))
    return Statement(text, tuple(names))


def conflict(table: str, columns: tuple[str, ...]) -> str:
    """Return what makes an insertion replace the row that has its key."""
    kept = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in columns if name not in PRIMARY_KEYS[table])
    return f" ON CONFLICT ({', '.join(PRIMARY_KEYS[table])}) DO UPDATE SET {kept}"


def quoted(name: str) -> str:
    """Return a column's name, in quotes where it is a word of SQL."""
    return '"window"' if name == "window" else name


def _rewritten(sql: str) -> str:
    for pattern, into in _REPLACED:
        sql = pattern.sub(_path if into == "JSON" else into, sql)
    return sql


def _path(found: re.Match[str]) -> str:
    source, arrow, path = found.groups()
    value = f"(as_json({source}) {'#>>' if arrow == '->>' else '#>'} '{{{path.replace('.', ',')}}}')"
    return value if arrow == "->>" else f"{value}::text"


@functools.lru_cache(maxsize=2048)
def insertion_of_rows(head: str, width: int, tail: str, *, columns: tuple[str, ...], types: tuple[str, ...]) -> str:
    """Return ``head`` (``INSERT INTO table``) for any number of rows, each column of which is one binding."""
    plain, table, alternative = insertion(head)
    if "(" in plain:
        wanted = tuple(name.strip() for name in plain.partition("(")[2].rstrip(") ").split(","))
    else:
        # What the next version added comes last, and has a default.
        wanted = columns[:width]
    arrays = ", ".join(f"${at}::{types[columns.index(name)]}[]" for at, name in enumerate(wanted, 1))
    listed = ", ".join(map(quoted, wanted))
    rest = {"IGNORE": " ON CONFLICT DO NOTHING", "": f" {tail}"}.get(alternative) or conflict(table, wanted)
    return f"INSERT INTO {table} ({listed}) SELECT * FROM unnest({arrays}){rest}"  # noqa: S608 - names of the schema


@functools.lru_cache(maxsize=2048)
def insertion(sql: str) -> tuple[str, str, str]:
    """Return the plain form of an ``INSERT OR …``, its table, and ``IGNORE``, ``REPLACE`` or an empty string."""
    found = _INSERT_OR.search(sql)
    if found is None:
        plain = re.search(r"INSERT INTO (\w+)", sql)
        return sql, plain.group(1) if plain else "", ""
    return sql.replace(found.group(), f"INSERT INTO {found.group(2)}"), found.group(2), found.group(1)
