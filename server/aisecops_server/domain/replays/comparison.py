"""Two conclusions on one document, compared: the same, another outcome, or another reason for the same one.

A conclusion is the JSON of ``decision_json.conclusion_details``. Equality is that of canonical bytes, so that ``1`` is
not ``true``; fingerprints are a fast way to see it, and where they differ the bytes decide. A field that the older
record cannot have, because its version knew none, is no difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.decisions.decision_json import CONCLUSION_FIELDS
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.domain.replays.replay import Direction, VerdictClass

_RESTRICTION = {Outcome.ALLOW.value: 0, Outcome.REQUIRE_APPROVAL.value: 1, Outcome.DENY.value: 2}
# Values of these types that are equal are spelled alike.
_PLAIN = frozenset({str, int, bool})

Conclusion = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, order=True)
class Firing:
    """That a rule fired on a step (none for the whole plan) and what it asked for."""

    rule: str
    step_id: str
    effect: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of one decision.

    ``parts`` are the parts of the conclusion that differ, and ``reason`` says why there is nothing to compare.
    ``risky`` marks what was refused and would now run without anybody being asked.
    """

    verdict_class: VerdictClass
    before: str = ""
    after: str = ""
    direction: Direction | None = None
    fires_now: tuple[Firing, ...] = ()
    no_longer: tuple[Firing, ...] = ()
    parts: tuple[str, ...] = ()
    reason: str = ""

    @property
    def risky(self) -> bool:
        """Return whether a refusal became an allow."""
        return (self.before, self.after) == (Outcome.DENY.value, Outcome.ALLOW.value)


def recorded_conclusion(decision: RecordedDecision) -> dict[str, JsonValue]:
    """Return what a decision concluded, as far as it is on record."""
    return {name: decision.details[name] for name in CONCLUSION_FIELDS if name in decision.details}


def fingerprint(conclusion: Conclusion) -> bytes:
    """Return a digest that no other conclusion has. The same numbers may be spelled in two ways, so equal is enough."""
    return hashlib.sha256(orjson.dumps(conclusion, option=orjson.OPT_SORT_KEYS)).digest()


def same(before: Conclusion, after: Conclusion) -> bool:
    """Return whether two conclusions say the same."""
    return fingerprint(before) == fingerprint(after) or not _differing(before, after)


def compare(before: Conclusion, after: Conclusion) -> Comparison:
    """Return what became of a decision that was ``before`` and would be ``after``."""
    was, now = str(before["outcome"]), str(after["outcome"])
    parts = _differing(before, after)
    if not parts:
        return Comparison(VerdictClass.SAME, was, now)
    earlier, later = _firings(before), _firings(after)
    return Comparison(
        verdict_class=_class_of(was, now, parts),
        before=was,
        after=now,
        direction=_direction(was, now),
        fires_now=tuple(Firing(*fired) for fired in sorted(later - earlier)),
        no_longer=tuple(Firing(*fired) for fired in sorted(earlier - later)),
        parts=parts,
    )


def error(before: str, reason: str) -> Comparison:
    """Return that a decision could not be decided anew."""
    return Comparison(VerdictClass.ERROR, before=before, reason=reason)


def indeterminate(before: str, reason: str) -> Comparison:
    """Return that it cannot be known how a decision would be decided now."""
    return Comparison(VerdictClass.INDETERMINATE, before=before, reason=reason)


def _class_of(was: str, now: str, parts: Sequence[str]) -> VerdictClass:
    if was != now:
        return VerdictClass.OUTCOME_FLIP
    return VerdictClass.OBLIGATION_CHANGE if "obligations" in parts else VerdictClass.REASON_ONLY


def _direction(was: str, now: str) -> Direction | None:
    if was == now:
        return None
    # An outcome that is none of ours restricts most.
    worst = len(_RESTRICTION)
    return Direction.LOOSER if _RESTRICTION.get(now, worst) < _RESTRICTION.get(was, worst) else Direction.STRICTER


def _differing(before: Conclusion, after: Conclusion) -> tuple[str, ...]:
    return tuple(name for name in CONCLUSION_FIELDS if name in before and not _is_same(before[name], after.get(name)))


def _is_same(earlier: JsonValue, later: JsonValue) -> bool:
    """Return whether two values have the same canonical form, of ``later`` without what ``earlier`` knows nothing of.

    What has the same form is equal in Python, which is far cheaper to see; that ``1`` also equals ``true``, only
    spelling tells.
    """
    if earlier != later:
        later = _like(later, earlier)
        if earlier != later:
            return False
    if type(earlier) is type(later) and (not earlier or type(earlier) in _PLAIN):
        return True
    spelled = (orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in (earlier, later))
    return len(set(spelled)) == 1 or canonical_bytes(earlier) == canonical_bytes(later)


def _like(later: JsonValue, earlier: JsonValue) -> JsonValue:
    """Return ``later`` without the fields of its entries that no entry of ``earlier`` has."""
    if not isinstance(later, list) or not isinstance(earlier, list) or not earlier or len(earlier) != len(later):
        return later
    known = {name for entry in earlier if isinstance(entry, dict) for name in entry}
    return [
        {name: value for name, value in entry.items() if name in known} if isinstance(entry, dict) else entry
        for entry in later
    ]


def _firings(conclusion: Conclusion) -> set[tuple[str, str, str]]:
    findings = conclusion["findings"]
    listed = findings if isinstance(findings, list) else []
    return {
        (str(found.get("rule", "")), str(found.get("step", "")), str(found.get("effect", "")))
        for found in listed
        if isinstance(found, dict)
    }
