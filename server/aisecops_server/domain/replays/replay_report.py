"""The sums of a replay: how many decisions of each class, by direction, rule, agent, tool, and reason.

Sums are kept as counts under small keys, so that parts can be stored, read back and added up in any order with the
same result. The report is sorted throughout and holds no time: the same question gives the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.comparison import Comparison, Firing
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.domain.replays.replay import Direction, VerdictClass

EXAMPLES = 3
MOST_GROUPS = 200

# Most dangerous first: the order in which people must see what changed.
_LEAST_RESTRICTIVE = (Outcome.ALLOW.value, Outcome.REQUIRE_APPROVAL.value, Outcome.DENY.value)
_OTHER = "OTHER"

Key = tuple[str, ...]


@dataclass(slots=True)
class Group:
    """Decisions to which the same happened, and the first few of them."""

    count: float = 0.0
    examples: list[str] = field(default_factory=list)

    def add(self, examples: Iterable[str], count: float) -> None:
        """Add ``count`` more decisions, some of which are ``examples``."""
        self.count += count
        self.examples = [*self.examples, *examples][:EXAMPLES]


@dataclass(slots=True)
class Tallies:
    """Counts that grow. Add comparisons in the order of the log, and whole tallies in that of their parts."""

    counts: defaultdict[Key, float] = field(default_factory=lambda: defaultdict(float))
    groups: dict[Key, Group] = field(default_factory=dict)

    def add(self, decision: RecordedDecision, compared: Comparison, *, weight: float = 1.0) -> None:
        """Count one decision, as ``weight`` of them when it stands for others."""
        for key in _keys(decision, compared):
            self.counts[key] += weight
        if compared.verdict_class is not VerdictClass.SAME:
            self.groups.setdefault(_group_key(compared), Group()).add([decision.decision_id], weight)

    def merge(self, other: Tallies) -> None:
        """Add what ``other`` counted, which comes later in the log."""
        for name, count in other.counts.items():
            self.counts[name] += count
        for key, group in other.groups.items():
            self.groups.setdefault(key, Group()).add(group.examples, group.count)

    @property
    def compared(self) -> int:
        """Return how many decisions were compared."""
        return self._of("compared")

    def as_json(self) -> dict[str, JsonValue]:
        """Return the counts in a form that ``from_json`` reads."""
        return {
            "counts": [[*key, round(count)] for key, count in sorted(self.counts.items())],
            "groups": [
                {"key": list(key), "count": round(group.count), "examples": list(group.examples)}
                for key, group in sorted(self.groups.items())
            ],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, JsonValue]) -> Tallies:
        """Return the counts that ``as_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        tallies = cls()
        for entry in _list(stored["counts"]):
            *key, count = _list(entry)
            tallies.counts[tuple(str(part) for part in key)] = int(str(count))
        for entry in _list(stored["groups"]):
            if not isinstance(entry, Mapping):
                raise TypeError("a group is an object")
            group = Group(int(str(entry["count"])), [str(item) for item in _list(entry["examples"])])
            tallies.groups[tuple(str(part) for part in _list(entry["key"]))] = group
        return tallies

    def report(self, *, sampled: bool, selected: int, compared: int) -> dict[str, JsonValue]:
        """Return the sums as people read them; ``sampled`` when they are estimates from ``compared`` decisions."""
        return {
            "sampled": sampled,
            "selected": selected,
            "compared": compared,
            "classes": [{"verdict_class": kind.value, "count": self._of("class", kind.value)} for kind in VerdictClass],
            "looser": self._of("direction", Direction.LOOSER.value),
            "stricter": self._of("direction", Direction.STRICTER.value),
            "risky": self._of("risky"),
            "transitions": self._transitions(),
            "rules": self._rules(),
            "agents": self._by("agent", "agent_id"),
            "tools": self._by("tool", "tool"),
            "revisions": [
                {"revision": key[1], "count": round(count)} for key, count in self._sorted("revision") if key[1]
            ],
            "groups": self._groups(),
            "groups_left_out": max(0, len(self.groups) - MOST_GROUPS),
        }

    def _of(self, *key: str) -> int:
        return round(self.counts.get(key, 0))

    def _sorted(self, kind: str) -> list[tuple[Key, float]]:
        return sorted((key, count) for key, count in self.counts.items() if key[0] == kind)

    def _transitions(self) -> list[JsonValue]:
        found = [(key[1], key[2], round(count)) for key, count in self._sorted("transition")]
        ordered = sorted(found, key=lambda item: (_rank(item[1]) - _rank(item[0]), item))
        return [{"before": before, "after": after, "count": count} for before, after, count in ordered]

    def _rules(self) -> list[JsonValue]:
        names = sorted({key[1] for key, _ in self._sorted("rule")})
        return [
            {
                "rule": name,
                "fires_now": self._of("rule", name, "now"),
                "no_longer": self._of("rule", name, "gone"),
            }
            for name in names
        ]

    def _by(self, kind: str, label: str) -> list[JsonValue]:
        names = sorted({key[1] for key, _ in self._sorted(kind)})
        return [
            {
                label: name,
                "compared": self._of(kind, name, "compared"),
                "looser": self._of(kind, name, Direction.LOOSER.value),
                "stricter": self._of(kind, name, Direction.STRICTER.value),
                "other": self._of(kind, name, _OTHER),
            }
            for name in names
        ]

    def _groups(self) -> list[JsonValue]:
        ordered = sorted(self.groups.items(), key=lambda item: (danger(item[0]), -round(item[1].count), item[0]))
        return [_group(key, group) for key, group in ordered[:MOST_GROUPS]]


def _keys(decision: RecordedDecision, compared: Comparison) -> list[Key]:
    bucket, agent, tools = _bucket(compared), decision.agent_id, decision.tools
    keys: list[Key] = [
        ("compared",),
        ("class", compared.verdict_class.value),
        ("revision", decision.text("bundle_revision")),
        ("agent", agent, "compared"),
        *(("tool", tool, "compared") for tool in tools),
    ]
    if bucket:
        keys += [("agent", agent, bucket), *(("tool", tool, bucket) for tool in tools)]
        keys += [("rule", rule, "now") for rule in _rules_of(compared.fires_now)]
        keys += [("rule", rule, "gone") for rule in _rules_of(compared.no_longer)]
    if compared.direction:
        keys += [("direction", compared.direction.value), ("transition", compared.before, compared.after)]
    return [*keys, ("risky",)] if compared.risky else keys


def _bucket(compared: Comparison) -> str:
    if compared.verdict_class is VerdictClass.SAME:
        return ""
    return compared.direction.value if compared.direction else _OTHER


def _group_key(compared: Comparison) -> Key:
    return (
        compared.verdict_class.value,
        compared.before,
        compared.after,
        " ".join(_rules_of(compared.fires_now)),
        " ".join(_rules_of(compared.no_longer)),
        " ".join(compared.parts) if compared.verdict_class is VerdictClass.REASON_ONLY else "",
        compared.reason,
    )


def _group(key: Key, group: Group) -> JsonValue:
    kind, before, after, now, gone, parts, reason = key
    return {
        "verdict_class": kind,
        "before": before,
        "after": after,
        "fires_now": now.split(),
        "no_longer": gone.split(),
        "parts": parts.split(),
        "reason": reason,
        "count": round(group.count),
        "examples": list(group.examples),
    }


def danger(key: Key) -> tuple[int, int]:
    """Return where a group belongs: what lets more through first, what changes no outcome last."""
    kind, before, after = key[:3]
    if kind == VerdictClass.OUTCOME_FLIP.value:
        return 0, _rank(after) - _rank(before)
    return 1, list(VerdictClass).index(VerdictClass(kind)) * -1


def _rank(outcome: str) -> int:
    return _LEAST_RESTRICTIVE.index(outcome) if outcome in _LEAST_RESTRICTIVE else len(_LEAST_RESTRICTIVE)


def _rules_of(firings: Sequence[Firing]) -> list[str]:
    return sorted({firing.rule for firing in firings})


def _list(value: JsonValue) -> Sequence[JsonValue]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
