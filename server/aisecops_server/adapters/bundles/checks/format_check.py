"""Whether Rego is formatted as the engine formats it, so that reviews show what changed and nothing else."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

from aisecops_server.adapters.bundles.checks.workshop import Workshops, digests, rego_of
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Problem
from aisecops_server.ports.checking import CheckedPolicy

_MOST_TOLD = 50
# How often a program is run at once by one check.
_AT_ONCE = 2


class FormatCheck:
    """Asks the engine's formatter."""

    name = CheckName.FORMAT

    def __init__(self, opa: OpaCli, workshops: Workshops) -> None:
        self._opa = opa
        self._workshops = workshops
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return the policy's own Rego: what is shipped is formatted."""
        return {"files": digests(_own(policy))}

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return a problem for each file that the formatter would change, at the first line that it would."""
        own = sorted(_own(policy))
        if not own:
            return CheckResult(self.name, facts={"files": 0})
        workshop = await self._workshops.of(policy)
        code, output, errors = await self._opa.run("fmt", "--fail", "-l", *own, cwd=workshop.root)
        listed = [line for line in output.decode("utf-8", "replace").splitlines() if line in own]
        if code != 0 and not listed:
            return CheckResult(self.name, skipped=f"the formatter cannot read it: {_first(errors)}")
        lines = await asyncio.gather(*(self._line(policy, path) for path in listed[:_MOST_TOLD]))
        problems = tuple(
            Problem(
                "format.changed",
                "it is not formatted",
                hint="'aisecops policy fmt --write' formats it",
                path=path,
                line=line,
                subject=path,
            )
            for path, line in zip(listed, lines, strict=False)
        )
        return CheckResult(self.name, problems, {"files": len(own)})

    async def formatted(self, policy: CheckedPolicy) -> dict[str, bytes]:
        """Return the policy's own files that the formatter changes, as it writes them."""
        made = {path: await self._formatted(policy, path) for path in sorted(_own(policy))}
        return {path: text for path, text in made.items() if text and text != policy.tree.files[path]}

    async def _formatted(self, policy: CheckedPolicy, path: str) -> bytes:
        workshop = await self._workshops.of(policy)
        async with self._turn:
            code, output, _ = await self._opa.run("fmt", path, cwd=workshop.root)
        return output if code == 0 else b""

    async def _line(self, policy: CheckedPolicy, path: str) -> int:
        was, now = policy.tree.files[path].splitlines(), (await self._formatted(policy, path)).splitlines()
        pairs = itertools.zip_longest(was, now)
        return next((number for number, (old, new) in enumerate(pairs, 1) if old != new), 1)


def _own(policy: CheckedPolicy) -> dict[str, bytes]:
    return {path: content for path, content in rego_of(policy).items() if path in policy.own}


def _first(errors: bytes) -> str:
    return errors.decode("utf-8", "replace").strip().partition("\n")[0][:200]
