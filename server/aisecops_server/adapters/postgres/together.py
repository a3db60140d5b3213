"""Several statements made into one, so that the server is asked once.

Statements that write are made into one of which each is a part; the server works on all of them with one view of what
was there before. So no two may write to one table, and none may read what another one writes. Queries become columns
of one row, each the list of its rows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

_MARK = re.compile(r"\$(\d+)")
_TABLE = re.compile(r"(?:INSERT INTO|UPDATE) (\w+)")


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement as the server reads it, with its bindings."""

    text: str
    values: Sequence[Any]


def written_together(statements: Sequence[Asked]) -> Asked:
    """Return one statement that does what these do, each of which writes to another table."""
    return Asked(_written(_texts(statements)), _values(statements))


def asked_together(queries: Sequence[Asked]) -> Asked:
    """Return one query for a row that has the rows of each as a list of records."""
    return Asked(_read(_texts(queries)), _values(queries))


@functools.lru_cache(maxsize=2048)
def table_of(text: str) -> str:
    """Return the table that a statement writes to, or an empty string."""
    found = _TABLE.match(text)
    return found.group(1) if found else ""


def _texts(statements: Sequence[Asked]) -> tuple[tuple[str, int], ...]:
    return tuple((one.text, len(one.values)) for one in statements)


def _values(statements: Sequence[Asked]) -> list[Any]:
    return list(chain.from_iterable(one.values for one in statements))


@functools.lru_cache(maxsize=256)
def _written(texts: tuple[tuple[str, int], ...]) -> str:
    *parts, last = _numbered(texts)
    named = ", ".join(f"part_{at} AS ({part})" for at, part in enumerate(parts))
    return f"WITH {named} {last}" if named else last


@functools.lru_cache(maxsize=256)
def _read(texts: tuple[tuple[str, int], ...]) -> str:
    return f"SELECT {', '.join(f'ARRAY(SELECT one FROM ({part}) AS one)' for part in _numbered(texts))}"  # noqa: S608 - constant parts


def _numbered(texts: tuple[tuple[str, int], ...]) -> list[str]:
    """Return the texts with the numbers of their bindings behind those of the ones before."""
    found, before = list[str](), 0
    for text, count in texts:
        found.append(_MARK.sub(lambda mark, before=before: f"${int(mark.group(1)) + before}", text))  # type: ignore[misc]
        before += count
    return found
