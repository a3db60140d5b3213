"""Changed values of tables that stand in no commit: ``table.key=value``, as a person writes it after ``--set``.

Keys may hold dots and slashes themselves, so a path is read along the keys that the table has; the longest one that
fits wins. A value is JSON, or text where it is none; ``null`` takes an entry out. The changed tables are checked as
every table is, so nothing can be set that could not be committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidPlanError, InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.formats.strict_json import parse
from aisecops_server.domain.tables.policy_tables import TABLE_NAMES

MOST_CHANGES = 64
MOST_CHARACTERS = 4096
_HINT = "Write table.key=value, such as approvals.tools.crm/issue_refund.amount_over=50"


@dataclass(frozen=True, slots=True)
class TableChange:
    """One changed value: the text that asks for it, the words of its path, and the value (``None`` takes it out)."""

    text: str
    place: str
    value: JsonValue

    @property
    def table(self) -> str:
        """Return the table that it changes."""
        return self.place.partition(".")[0]


def table_change(text: str) -> TableChange:
    """Return the change that ``text`` asks for.

    Raises:
        InvalidRequestError: it is not of the form ``table.key=value``, or there is no such table.
    """
    place, equals, value = text.partition("=")
    place = place.strip()
    if len(text) > MOST_CHARACTERS or not equals or "." not in place.strip("."):
        raise _refused(text, "is no change of a table")
    change = TableChange(f"{place}={value.strip()}", place, _value(value.strip()))
    if change.table not in TABLE_NAMES:
        raise _refused(text, f"names no table; the tables are {', '.join(TABLE_NAMES)}")
    return change


def patched(tables: Mapping[str, JsonValue], changes: Sequence[TableChange]) -> dict[str, JsonValue]:
    """Return the tables with ``changes`` made, one after the other; the given ones stay as they are.

    Raises:
        InvalidRequestError: a path leads through something that has no keys, or nothing is there to be taken out.
    """
    made = dict(tables)
    for change in changes:
        made = _set(made, change.place, change)
    return made


def _set(part: Mapping[str, JsonValue], place: str, change: TableChange) -> dict[str, JsonValue]:
    key, rest = _step(part, place)
    if not rest:
        if change.value is None and key not in part:
            raise _refused(change.text, f"takes out {key}, which is not there")
        kept = {name: value for name, value in part.items() if name != key}
        return kept if change.value is None else {**part, key: change.value}
    inner = part.get(key, {})
    if not isinstance(inner, Mapping):
        raise _refused(change.text, f"goes below {key}, which has no keys")
    return {**part, key: _set(inner, rest, change)}


def _step(part: Mapping[str, JsonValue], place: str) -> tuple[str, str]:
    """Return the first key of a path and what comes behind it."""
    fitting = [key for key in part if place == key or place.startswith(f"{key}.")]
    key = max(fitting, key=len) if fitting else place.partition(".")[0]
    return key, place[len(key) + 1 :]


def _value(text: str) -> JsonValue:
    try:
        return parse(text.encode(), field="set")
    except InvalidPlanError:
        return text


def _refused(text: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"'{text[:200]}' {why}", hint=_HINT, field="set")
