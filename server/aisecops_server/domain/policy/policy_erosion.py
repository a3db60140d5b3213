"""What a change takes away from a policy without breaking anything: cases, tests, rules, effects, severities, gates.

Nothing of it fails a test, because the test went with it; and a gate that is opened lets the next change pass. So each
is told, and needs a waiver by its owner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.policy.accepted_flips import CAUTIOUS, ChannelGate, Gates
from aisecops_server.domain.policy.golden_case import GoldenCase
from aisecops_server.domain.policy.policy_check import Level, Problem
from aisecops_server.domain.policy.policy_paths import GATES

_EFFECTS = ("warn", "require_approval", "deny")
_SEVERITIES = ("low", "medium", "high", "critical")
_OUTCOMES = {"ALLOW": 0, "REQUIRE_APPROVAL": 1, "DENY": 2}
_ARRIVES = ("live", "shadow", "wait")
# What of a gate may not become more, and what not less.
_MOST = ("most_flips", "most_indeterminate_percent", "most_costlier_percent")
_ROLLOUT_MOST = ("most_error_percent", "slow_milliseconds", "most_slow_percent", "least")
_ROLLOUT_LEAST = ("seconds", "decisions")
_HINT = "Put it back, or have its owner waive it in waivers.yaml"


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What a rule says of itself, and how many tests stand beside it."""

    path: str
    line: int
    effect: str
    severity: str
    tests: int


def eroded_rules(before: Mapping[str, RuleFacts], after: Mapping[str, RuleFacts]) -> Iterator[Problem]:
    """Yield the rules that are gone, ask for less, count for less, or are tested less."""
    for rule, was in sorted(before.items()):
        now = after.get(rule)
        if now is None:
            yield Problem("changes.rule-removed", f"the rule {rule} is gone", hint=_HINT, path=was.path, subject=rule)
            continue
        for what, words, old, new in (
            ("effect", _EFFECTS, was.effect, now.effect),
            ("severity", _SEVERITIES, was.severity, now.severity),
        ):
            if old in words and new in words and words.index(new) < words.index(old):
                told = f"the {what} of {rule} went from {old} to {new}"
                yield Problem(f"changes.{what}-lowered", told, hint=_HINT, path=now.path, line=now.line, subject=rule)
        if now.tests < was.tests:
            told = f"{rule} had {was.tests} tests and has {now.tests}"
            yield Problem("changes.tests-removed", told, hint=_HINT, path=now.path, line=now.line, subject=rule)


def eroded_cases(
    before: Sequence[GoldenCase], after: Sequence[GoldenCase], places: Mapping[str, tuple[str, int]]
) -> Iterator[Problem]:
    """Yield the golden cases that are gone or expect less; ``places`` are file and line of each, by its sentence."""
    now = {case.case: case for case in after}
    for was in before:
        path, line = places.get(was.case, ("cases", 0))
        if was.case not in now:
            told = f"the golden case '{was.case}' is gone"
            yield Problem("changes.case-removed", told, hint=_HINT, path=path, subject=was.case)
        elif _expects_less(was, now[was.case]):
            told = f"the golden case '{was.case}' expects less than it did"
            yield Problem("changes.case-loosened", told, hint=_HINT, path=path, line=line, subject=was.case)


def _expects_less(was: GoldenCase, now: GoldenCase) -> bool:
    old, new = was.expect.outcome, now.expect.outcome
    if old is not None and (new is None or _OUTCOMES[new.value] < _OUTCOMES[old.value]):
        return True
    # The question may not become another one under the same sentence.
    return old is not None and old.value != "ALLOW" and was.model_copy(update={"expect": now.expect}) != now


def opened_gates(before: Gates, after: Gates) -> Iterator[Problem]:
    """Yield what changes after this one may do that they could not do before it."""
    for name in _MOST:
        yield from _opened(name, getattr(before, name), getattr(after, name), more=True)
    for name in _ROLLOUT_MOST + _ROLLOUT_LEAST:
        old, new = getattr(before.rollout, name), getattr(after.rollout, name)
        yield from _opened(f"rollout.{name}", old, new, more=name in _ROLLOUT_MOST)
    if _SEVERITIES.index(after.severity) > _SEVERITIES.index(before.severity):
        yield _gate("severity", f"severity went from {before.severity} to {after.severity}")
    for trace in sorted(set(before.protected_traces).difference(after.protected_traces)):
        yield _gate(trace, f"the trace {trace} is protected no longer")
    for name, gate in sorted(after.channels.items()):
        yield from _opened_channel(name, before.channels.get(name), gate)


def _opened(name: str, old: int, new: int, *, more: bool) -> Iterator[Problem]:
    if (new > old) if more else (new < old):
        yield _gate(name, f"{name} went from {old} to {new}")


def _opened_channel(name: str, was: ChannelGate | None, now: ChannelGate) -> Iterator[Problem]:
    """Yield where a channel asks for less; one that was not there asked for the most, and to name it is meant."""
    known, level = was or CAUTIOUS, Level.ERROR if was else Level.WARNING
    before = "" if was else ", which a channel that is not in the file has"
    if _ARRIVES.index(now.arrives) < _ARRIVES.index(known.arrives):
        told = f"channels.{name}.arrives went from {known.arrives} to {now.arrives}{before}"
        yield _gate(f"channels.{name}.arrives", told, level)
    if now.approvers < known.approvers:
        told = f"channels.{name}.approvers went from {known.approvers} to {now.approvers}{before}"
        yield _gate(f"channels.{name}.approvers", told, level)


def _gate(subject: str, told: str, level: Level = Level.ERROR) -> Problem:
    return Problem("changes.gate-opened", told, hint=_HINT, path=GATES, subject=subject, level=level)
