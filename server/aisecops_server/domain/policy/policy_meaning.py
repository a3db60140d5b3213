"""What changed in meaning between two revisions: clauses of rules, and rows of tables, each with its places.

A clause is known by the digest of its syntax tree without places, so formatting, comments and the order of clauses
are no change. Tables are compared as they are compiled, so neither are descriptions or another spelling of the same
value. What a person must look at is named by file and line on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes

# What people read and no rule does.
_DESCRIPTION = "description"
_RULES = "aisecops.rules."
METADATA = "METADATA"


class ChangeKind(StrEnum):
    """What happened to a part of the policy."""

    RULE_ADDED = "RULE_ADDED"
    RULE_REMOVED = "RULE_REMOVED"
    RULE_CHANGED = "RULE_CHANGED"
    LIBRARY_CHANGED = "LIBRARY_CHANGED"
    ROW_ADDED = "ROW_ADDED"
    ROW_REMOVED = "ROW_REMOVED"
    ROW_CHANGED = "ROW_CHANGED"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of a package: what it defines, the digest of what it says, and where its text stands."""

    package: str
    name: str
    digest: str
    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a table, as a person wrote it; ``path`` begins with the table's name."""

    path: tuple[str, ...]
    value: JsonValue
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class PolicyText:
    """What was read of a revision: the clauses of some of its files, its tables, and their rows."""

    clauses: tuple[Clause, ...]
    tables: Mapping[str, JsonValue]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One side of a change: where it stands and what it says. Without a file there is nothing on this side.

    ``spans`` are the first and last lines of each clause in it; of a row, its own line twice.
    """

    file: str = ""
    line: int = 0
    text: str = ""
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference in meaning. ``subject`` is a rule, a package of the library, or a row's path in dots.

    Of a row, ``path`` is where it stands, from the table's name on, and ``was`` its value before.
    """

    kind: ChangeKind
    subject: str
    clause: str
    before: Part
    after: Part
    path: tuple[str, ...] = ()
    was: JsonValue = field(default=None, hash=False)

    @property
    def rule(self) -> str:
        """Return the rule that changed, or an empty string when something else did."""
        return self.subject if self.kind.value.startswith("RULE_") else ""

    def as_json(self) -> dict[str, JsonValue]:
        """Return the change as JSON."""
        return {
            "kind": self.kind.value,
            "subject": self.subject,
            "clause": self.clause,
            "before": {"file": self.before.file, "line": self.before.line, "text": self.before.text},
            "after": {"file": self.after.file, "line": self.after.line, "text": self.after.text},
        }


def changes(
    before: PolicyText, after: PolicyText, *, compiled: tuple[Mapping[str, JsonValue], Mapping[str, JsonValue]]
) -> tuple[Change, ...]:
    """Return what differs in meaning, rules first; ``compiled`` are the tables of both sides as rules see them."""
    found = sorted(_clause_changes(before, after), key=_order)
    if canonical_bytes(compiled[0]) != canonical_bytes(compiled[1]):
        found += _row_changes(before, after)
    return tuple(found)


def _order(change: Change) -> tuple[str, str, str]:
    return change.kind.value, change.subject, change.clause


def _clause_changes(before: PolicyText, after: PolicyText) -> Iterator[Change]:
    old, new = _by_name(before.clauses), _by_name(after.clauses)
    for package, name in sorted(old.keys() | new.keys()):
        was, now = old.get((package, name), []), new.get((package, name), [])
        gone, come = _without(was, now), _without(now, was)
        if gone or come:
            kind = _kind(package, was=_has_package(old, package), now=_has_package(new, package))
            subject = package.removeprefix(_RULES) if kind is not ChangeKind.LIBRARY_CHANGED else package
            yield Change(kind, subject, name, _part(gone), _part(come))


def _by_name(clauses: tuple[Clause, ...]) -> dict[tuple[str, str], list[Clause]]:
    found: dict[tuple[str, str], list[Clause]] = {}
    for clause in clauses:
        found.setdefault((clause.package, clause.name), []).append(clause)
    return found


def _without(clauses: list[Clause], others: list[Clause]) -> list[Clause]:
    left = Counter(clause.digest for clause in others)
    found = []
    for clause in clauses:
        if left[clause.digest]:
            left[clause.digest] -= 1
        else:
            found.append(clause)
    return found


def _has_package(clauses: Mapping[tuple[str, str], list[Clause]], package: str) -> bool:
    return any(name == package for name, _ in clauses)


def _kind(package: str, *, was: bool, now: bool) -> ChangeKind:
    if not package.startswith(_RULES):
        return ChangeKind.LIBRARY_CHANGED
    if was and now:
        return ChangeKind.RULE_CHANGED
    return ChangeKind.RULE_ADDED if now else ChangeKind.RULE_REMOVED


def _part(clauses: list[Clause]) -> Part:
    if not clauses:
        return Part()
    spans = tuple((clause.line, clause.line + clause.text.count("\n")) for clause in clauses)
    return Part(clauses[0].file, clauses[0].line, "\n\n".join(clause.text for clause in clauses), spans)


def _row_changes(before: PolicyText, after: PolicyText) -> list[Change]:
    old, new = ({row.path: row for row in text.rows if _is_read(row)} for text in (before, after))
    found = []
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        if was is None or now is None or canonical_bytes(was.value) != canonical_bytes(now.value):
            kind = ChangeKind.ROW_ADDED if was is None else ChangeKind.ROW_CHANGED
            kind = ChangeKind.ROW_REMOVED if now is None else kind
            value = None if was is None else was.value
            found.append(Change(kind, ".".join(path), "", _row_part(was), _row_part(now), path, value))
    return found


def _is_read(row: Row) -> bool:
    return row.path[-1] != _DESCRIPTION


def _row_part(row: Row | None) -> Part:
    if row is None:
        return Part()
    return Part(row.file, row.line, canonical_bytes(row.value).decode(), ((row.line, row.line),))
