"""Checks a policy before it is merged: every check once, side by side, and none twice for the same content.

Ordering: what reads files runs first; what needs a policy that compiles is skipped, and says so, when it does not.
Waivers are applied at the end, because what they waive is the same policy's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.policy.policy_check import CheckName, CheckReport, CheckResult, CheckState, Problem
from aisecops_server.domain.policy.waivers import Waiver, problems_of_waivers, waived
from aisecops_server.ports import Clock
from aisecops_server.ports.checking import CheckedPolicy, CheckMemory, PolicyCheck

AT_ONCE = 3
# What changes what a check finds makes what is remembered of it worthless.
VERSION = 2
_NEEDS_COMPILED = frozenset({CheckName.TEST, CheckName.RULES, CheckName.GOLDEN, CheckName.BUILD, CheckName.CHANGES})


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """Runs checks and remembers what they found."""

    checks: Sequence[PolicyCheck]
    memory: CheckMemory
    clock: Clock
    product: str

    async def __call__(
        self,
        policy: CheckedPolicy,
        *,
        waivers: Sequence[Waiver] = (),
        only: Collection[CheckName] = (),
        told: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> CheckReport:
        """Return what the checks (``only`` some of them, when named) find; ``told`` is how many are done, of how many.

        Raises:
            EngineUnavailableError: there is no engine to check with.
        """
        wanted = [check for check in self.checks if not only or check.name in only]
        turn = asyncio.Semaphore(AT_ONCE)
        compiling = asyncio.Event()
        found: dict[CheckName, CheckResult] = {}

        async def run(check: PolicyCheck) -> None:
            if check.name in _NEEDS_COMPILED:
                await compiling.wait()
            async with turn:
                found[check.name] = await self._result(check, policy, found.get(CheckName.COMPILE))
                told(len(found), len(wanted))

        async def compile_() -> None:
            for check in wanted:
                if check.name is CheckName.COMPILE:
                    await run(check)
            compiling.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(compile_())
            for check in wanted:
                if check.name is not CheckName.COMPILE:
                    group.create_task(run(check))
        results = tuple(_waived(found[name], waivers, policy) for name in CheckName if name in found)
        return CheckReport(policy.name, _with_waivers(results, waivers, policy), policy.base_name)

    async def _result(self, check: PolicyCheck, policy: CheckedPolicy, compiled: CheckResult | None) -> CheckResult:
        if check.name in _NEEDS_COMPILED and compiled is not None and compiled.state is CheckState.FAILED:
            return CheckResult(check.name, skipped="the policy does not compile")
        began = self.clock.monotonic_ns()
        key = self._key(check, policy)
        kept = await self.memory.load(key)
        if kept is not None and (remembered := _from_json(check.name, kept)) is not None:
            return replace(remembered, milliseconds=self._since(began), remembered=True)
        try:
            result = await check(policy)
        except BundleRejectedError as error:
            # What the engine was not done with, or could not print, is the policy's fault and no answer.
            return CheckResult(check.name, (Problem(f"{check.name.value}.broken", error.message, hint=error.hint),))
        if not result.skipped:
            await self.memory.save(key, _as_json(result))
        return replace(result, milliseconds=self._since(began))

    def _key(self, check: PolicyCheck, policy: CheckedPolicy) -> str:
        told: dict[str, JsonValue] = {
            "version": VERSION,
            "product": self.product,
            "check": check.name.value,
            "reads": dict(check.reads(policy)),
        }
        return digest(canonical_bytes(told))

    def _since(self, began: int) -> int:
        return (self.clock.monotonic_ns() - began) // 1_000_000


def _waived(result: CheckResult, waivers: Sequence[Waiver], policy: CheckedPolicy) -> CheckResult:
    return replace(result, problems=waived(result.problems, waivers, today=policy.today))


def _with_waivers(
    results: tuple[CheckResult, ...], waivers: Sequence[Waiver], policy: CheckedPolicy
) -> tuple[CheckResult, ...]:
    """Add what is wrong with the waivers to the check of what people edit, or to the first that ran."""
    wrong = problems_of_waivers(waivers, today=policy.today)
    if not wrong or not results:
        return results
    names = [result.name for result in results]
    at = names.index(CheckName.CONFTEST) if CheckName.CONFTEST in names else 0
    told = replace(results[at], problems=(*results[at].problems, *wrong))
    return (*results[:at], told, *results[at + 1 :])


def _as_json(result: CheckResult) -> dict[str, JsonValue]:
    return {"problems": [problem.as_json() for problem in result.problems], "facts": dict(result.facts)}


def _from_json(name: CheckName, kept: Mapping[str, JsonValue]) -> CheckResult | None:
    problems, facts = kept.get("problems"), kept.get("facts")
    if not isinstance(problems, list) or not isinstance(facts, Mapping):
        return None
    try:
        read = tuple(Problem.from_json(each) for each in problems if isinstance(each, Mapping))
    except (KeyError, ValueError):
        return None
    return CheckResult(name, read, facts)
