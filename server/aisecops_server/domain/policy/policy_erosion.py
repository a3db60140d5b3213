"""What a change takes away from a policy without breaking anything: cases, tests, rules, effects, severities.

Nothing of it fails a test, because the test went with it. So each is told, and needs a waiver by its owner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.policy.golden_case import GoldenCase
from aisecops_server.domain.policy.policy_check import Problem

_EFFECTS = ("warn", "require_approval", "deny")
_SEVERITIES = ("low", "medium", "high", "critical")
_OUTCOMES = {"ALLOW": 0, "REQUIRE_APPROVAL": 1, "DENY": 2}
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
