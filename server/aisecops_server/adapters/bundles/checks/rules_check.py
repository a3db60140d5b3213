"""Whether each of the policy's own rules has tests that notice when it never fires, and when it always does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aisecops_server.adapters.bundles.checks.lint_check import LintCheck
from aisecops_server.adapters.bundles.checks.test_check import run_tests
from aisecops_server.adapters.bundles.checks.workshop import Workshops, digests, rego_of
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Problem, in_order
from aisecops_server.domain.policy.policy_lint import is_rule, rule_of
from aisecops_server.domain.policy.rego_syntax import Module
from aisecops_server.domain.policy.rule_exercise import Bend, bent
from aisecops_server.ports.checking import CheckedPolicy

_TOLD = {
    Bend.NEVER: (
        "rules.never-fired",
        "no test beside it fails when the rule never fires",
        "Test a plan that it must find",
    ),
    Bend.ALWAYS: (
        "rules.never-silent",
        "no test beside it fails when the rule always fires",
        "Test a near miss: a plan that is almost found and must not be",
    ),
}


class RulesCheck:
    """Bends each rule and looks whether its tests notice."""

    name = CheckName.RULES

    def __init__(self, opa: OpaCli, workshops: Workshops, lint: LintCheck) -> None:
        self._opa = opa
        self._workshops = workshops
        self._lint = lint

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return all Rego."""
        return {"files": digests(rego_of(policy)), "own": sorted(policy.own)}

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return the rules whose tests do not notice."""
        rules = [module for module in await self._lint.modules(policy) if _is_own_rule(module, policy)]
        if not rules:
            return CheckResult(self.name, facts={"rules": 0})
        problems: list[Problem] = []
        for bend in Bend:
            problems += await self._bent(policy, rules, bend)
        return CheckResult(self.name, in_order(problems), {"rules": len(rules)})

    async def _bent(self, policy: CheckedPolicy, rules: Sequence[Module], bend: Bend) -> list[Problem]:
        tests = [f"{rule.path.removesuffix('.rego')}_test.rego" for rule in rules]
        workshop = await self._workshops.small(policy, [*tests, *(rule.path for rule in rules)])
        try:
            workshop.write({rule.path: bent(rule, _text(policy, rule), bend).encode() for rule in rules})
            chosen = tuple(sorted(f"{rule.package}_test" for rule in rules))
            results = await run_tests(self._opa, workshop, chosen=chosen)
        finally:
            await self._workshops.discard(workshop)
        if isinstance(results, Problem):
            return [results]
        noticed = {str(result["package"]) for result in results if result.get("fail") or result.get("error")}
        return [_unnoticed(rule, bend) for rule in rules if f"{rule.package}_test" not in noticed]


def _is_own_rule(module: Module, policy: CheckedPolicy) -> bool:
    """Return whether a module is a rule whose text or test is the policy's own."""
    test = f"{module.path.removesuffix('.rego')}_test.rego"
    own = module.path in policy.own or (test in policy.own and bool(module.rules))
    return is_rule(module.package) and not module.is_test and own


def _text(policy: CheckedPolicy, module: Module) -> str:
    return policy.tree.files[module.path].decode("utf-8")


def _unnoticed(rule: Module, bend: Bend) -> Problem:
    code, message, hint = _TOLD[bend]
    return Problem(code, message, hint=hint, path=rule.path, line=rule.package_line, subject=rule_of(rule.package))
