"""Changed decisions of a replay in groups: the same transition, by the same rules, for the same changed clauses.

Which clause a decision is put down to is read, not proved: the differences in meaning between its two policies that
are nearest to it. Nearest is the rule that fires on one side only, then a row of a table about what the plan names,
then the library; a difference that stands alone is the cause whatever it is about. Why one decision flips is proved by
evaluating (``ExplainChange``).

Ordering rules: what lets more through comes first, the most of it at the top; then what lets less through; then what
changes no outcome. Of two alike the larger comes first, then the lower id, so the same results give the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.replays.replay_report import EXAMPLES, danger

MOST_CLAUSES = 8
_ID_CHARACTERS = 16
_FAR = 3
_REMEMBERED = 4096
_PLAIN = ("verdict_class", "before", "after", "direction", "reason", "agent_id", "bundle_revision")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FlipKey:
    """What the decisions of a group have in common. ``clauses`` are changes of policy, as ``Change.as_json`` has them.

    ``id`` depends on nothing else, so a replay of the same question names its groups alike.
    """

    verdict_class: str
    before: str
    after: str
    direction: str
    fires_now: tuple[str, ...]
    no_longer: tuple[str, ...]
    parts: tuple[str, ...]
    reason: str
    clauses: tuple[Json, ...] = field(default=(), hash=False, compare=False)
    id: str = ""


@dataclass(slots=True)
class FlipGroup:
    """A group: how many decisions it has, and the first few of them."""

    key: FlipKey
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Puts results of one replay into groups. ``policies`` are those of its report; ``compared`` a named baseline.

    Results are many and their kinds are few, so the keys of the last kinds are remembered.
    """

    policies: Sequence[Json]
    compared: bool = False
    _known: dict[tuple[object, ...], FlipKey] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, question: Json, report: Json) -> Grouping:
        """Return what groups the results of a replay that has reported."""
        asked = [_asked(change) for change in question["candidate"]["changes"]]
        if not report["policies"] and asked:
            # Each decision's own policy with values of tables changed: what differs is what was asked for.
            return cls([{"revision": "", "changes": asked}], compared=True)
        return cls(report["policies"], compared=bool(question["baseline"]))

    def key(self, result: Json) -> FlipKey:
        """Return the key of the group in which a result is."""
        kind = _kind(result)
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[kind] = _key(result, self._clauses(result))
        return known

    def add(self, results: Iterable[Json], into: dict[str, FlipGroup]) -> None:
        """Count results, in the order of the log, into groups by id."""
        for result in results:
            key = self.key(result)
            group = into.setdefault(key.id, FlipGroup(key))
            group.count += 1
            if len(group.examples) < EXAMPLES:
                group.examples.append(str(result["decision_id"]))

    def _clauses(self, result: Json) -> list[Json]:
        known = [one for one in self.policies if self.compared or one["revision"] == result["bundle_revision"]]
        changes: Sequence[Json] = known[0]["changes"] if known else ()
        if len(changes) == 1:
            return list(changes)
        rules = {str(firing["rule"]) for name in ("fires_now", "no_longer") for firing in result[name]}
        words = {str(result["agent_id"]), *map(str, result["tools"])}
        nearness = [_distance(change, rules, words) for change in changes]
        nearest = min(nearness, default=_FAR)
        near = [change for change, far in zip(changes, nearness, strict=True) if far == nearest < _FAR]
        return near[:MOST_CLAUSES]


def ordered(groups: Iterable[FlipGroup]) -> list[FlipGroup]:
    """Return groups in the order in which people must see them."""

    def place(group: FlipGroup) -> tuple[tuple[int, int], int, str]:
        key = group.key
        return danger((key.verdict_class, key.before, key.after)), -group.count, key.id

    return sorted(groups, key=place)


def groups_of_report(report: Json) -> list[FlipGroup]:
    """Return the groups that a report counts: of a sample, or of what is not whole. No clause is known for them."""
    found = []
    for told in report["groups"]:
        rules = {name: [{"rule": rule} for rule in told[name]] for name in ("fires_now", "no_longer")}
        key = _key({**told, **rules, "direction": ""}, ())
        found.append(FlipGroup(key, told["count"], list(told["examples"])))
    return ordered(found)


def _kind(result: Json) -> tuple[object, ...]:
    """Return everything on which the group of a result depends."""
    return (
        *(result[name] for name in _PLAIN),
        *(tuple(result[name]) for name in ("tools", "parts")),
        *(frozenset(firing["rule"] for firing in result[name]) for name in ("fires_now", "no_longer")),
    )


def _key(result: Json, clauses: Sequence[Json]) -> FlipKey:
    names = {
        name: tuple(sorted({str(firing["rule"]) for firing in result[name]})) for name in ("fires_now", "no_longer")
    }
    # Otherwise the parts of a decision that differ tell its outcome and rules once more.
    parts = tuple(result["parts"]) if result["verdict_class"] == "REASON_ONLY" else ()
    facts = [str(result[name]) for name in ("verdict_class", "before", "after", "reason")]
    said: JsonValue = [
        *facts,
        *map(list, names.values()),
        list(parts),
        # Not their lines: the same clause stands elsewhere in another revision that decided.
        sorted([_said(change) for change in clauses]),
    ]
    name = "grp-" + digest(canonical_bytes(said))[:_ID_CHARACTERS]
    return FlipKey(
        verdict_class=facts[0],
        before=facts[1],
        after=facts[2],
        reason=facts[3],
        direction=str(result["direction"]),
        fires_now=names["fires_now"],
        no_longer=names["no_longer"],
        parts=parts,
        clauses=tuple(clauses),
        id=name,
    )


def _asked(change: str) -> Json:
    """Return a change that a question asks for, ``table.key=value``; it stands in no file."""
    subject, _, value = change.partition("=")
    nowhere = {"file": "", "line": 0, "text": ""}
    return {
        "kind": "ROW_CHANGED",
        "subject": subject.strip(),
        "clause": "",
        "before": nowhere,
        "after": {**nowhere, "text": value.strip()},
    }


def _said(change: Json) -> list[str]:
    words = [str(change[name]) for name in ("kind", "subject", "clause")]
    return [*words, str(change["before"]["text"]), str(change["after"]["text"])]


def _distance(change: Json, rules: set[str], words: set[str]) -> int:
    """Return how near a difference is to a decision: its rule fired, its row is about what the plan names."""
    kind, subject = str(change["kind"]), str(change["subject"])
    if kind.startswith("RULE_"):
        return 0 if subject in rules else _FAR
    if kind.startswith("ROW_"):
        return 1 if any(f".{word}." in f".{subject}." for word in words if word) else _FAR
    return 2
