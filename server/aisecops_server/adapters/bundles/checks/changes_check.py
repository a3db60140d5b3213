"""What changed in meaning since the base, and whether a change takes anything away that nobody waived."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from aisecops_server.adapters.bundles.checks.golden_check import CASES, line_of_case
from aisecops_server.adapters.bundles.checks.workshop import whole_digest
from aisecops_server.adapters.bundles.gate_files import gates_of
from aisecops_server.adapters.bundles.yaml_places import line_of
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.accepted_flips import Gates
from aisecops_server.domain.policy.golden_case import GoldenCase, read_cases
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Problem, in_order
from aisecops_server.domain.policy.policy_erosion import RuleFacts, eroded_cases, eroded_rules, opened_gates
from aisecops_server.domain.policy.policy_paths import GATES
from aisecops_server.domain.policy.rule_text import rule_facts
from aisecops_server.ports.checking import CheckedPolicy
from aisecops_server.usecases.replays.compare_policies import CompareMeanings

_RULES = "rego/aisecops/rules/"
_MOST_TOLD = 100


class ChangesCheck:
    """Compares a policy with its base."""

    name = CheckName.CHANGES

    def __init__(self, meanings: CompareMeanings) -> None:
        self._meanings = meanings

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return both trees."""
        return {
            "files": whole_digest(policy.tree.files),
            "base": whole_digest(policy.base.files) if policy.base else "",
        }

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return what was taken away, and as facts everything that changed in meaning."""
        if policy.base is None:
            return CheckResult(self.name, skipped="nothing is named to compare with; give --base")
        try:
            changed = [change.as_json() for change in await self._meanings(policy.base, policy.tree)]
        except BundleRejectedError as error:
            return CheckResult(self.name, skipped=f"the base cannot be read: {error.message[:200]}")
        before, after = facts_of_rules(policy.base), facts_of_rules(policy.tree)
        old_cases, old_places = _cases(policy.base)
        cases, places = _cases(policy.tree)
        found = eroded_cases(old_cases, cases, {**old_places, **places})
        problems = [*eroded_rules(before, after), *found, *_opened_gates(policy.base, policy.tree)]
        facts: dict[str, JsonValue] = {
            "changes": list(changed[:_MOST_TOLD]),
            "changes_left_out": max(0, len(changed) - _MOST_TOLD),
        }
        return CheckResult(self.name, in_order(problems), facts)


def facts_of_rules(tree: PolicyTree) -> dict[str, RuleFacts]:
    """Return what each rule of a policy says of itself, by its name, read without the engine."""
    found = {}
    for path, content in tree.files.items():
        if path.startswith(_RULES) and path.endswith(".rego") and not path.endswith("_test.rego"):
            test = tree.files.get(f"{path.removesuffix('.rego')}_test.rego", b"")
            name = path.removeprefix(_RULES).rpartition("/")[0].replace("/", ".")
            found[name] = rule_facts(path, content.decode("utf-8", "replace"), test.decode("utf-8", "replace"))
    return found


def _opened_gates(base: PolicyTree, tree: PolicyTree) -> list[Problem]:
    before = after = Gates()
    # What cannot be read now is told by the check that compiles; what could not be read before is the cautious one.
    with contextlib.suppress(BundleRejectedError):
        before = gates_of(base)
    with contextlib.suppress(BundleRejectedError):
        after = gates_of(tree)
    return [_placed(tree, problem) for problem in opened_gates(before, after)]


def _placed(tree: PolicyTree, problem: Problem) -> Problem:
    content = tree.files.get(GATES)
    return replace(problem, line=line_of(content, *problem.subject.split("."))) if content else problem


def _cases(tree: PolicyTree) -> tuple[list[GoldenCase], dict[str, tuple[str, int]]]:
    found: list[GoldenCase] = []
    places: dict[str, tuple[str, int]] = {}
    for path, content in sorted(tree.files.items()):
        if not path.startswith(CASES):
            continue
        try:
            cases = read_cases(path, parse_yaml(path, content))
        except BundleRejectedError:
            # What is no case now is told by the check that decides them.
            continue
        found += cases
        places |= {case.case: (path, line_of_case(content, case.case)) for case in cases}
    return found, places
