"""Our own lint, on the engine's parse of what is not as it is shipped; and who reviews what, for the Git host."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import PurePosixPath

import orjson

from aisecops_server.adapters.bundles.checks.code_owners import problems_of_owners
from aisecops_server.adapters.bundles.checks.workshop import Workshops, digests, rego_of
from aisecops_server.adapters.bundles.layout import Library
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue, digest
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Problem
from aisecops_server.domain.policy.policy_lint import lint
from aisecops_server.domain.policy.rego_syntax import Module
from aisecops_server.ports.checking import CheckedPolicy

_ALWAYS = ("rego/aisecops/decision/decision.rego", "rego/system/authz.rego")
_AT_ONCE = 2


class LintCheck:
    """Lints the policy's own rules."""

    name = CheckName.LINT

    def __init__(self, opa: OpaCli, workshops: Workshops, *, library: Library) -> None:
        self._opa = opa
        self._workshops = workshops
        self._schemas = {name: orjson.loads(content) for name, content in library.schemas.items()}
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return the Rego, and who owns what."""
        about = policy.tree.files.get("bundle.yaml", b"")
        return {
            "files": digests(rego_of(policy)),
            "own": sorted(policy.own),
            "owners": {"bundle.yaml": digest(about)} | {place: digest(text) for place, text in policy.owners.items()},
        }

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return the problems of the policy's own files, and of the host's list of owners."""
        try:
            modules = await self.modules(policy)
        except BundleRejectedError as error:
            return CheckResult(self.name, skipped=f"a file cannot be parsed: {error.message[:200]}")
        rules = lint(modules, schemas=self._schemas, chosen=policy.own)
        problems = (*rules, *_of_changed_library(policy), *problems_of_owners(policy))
        return CheckResult(self.name, problems, {"files": len(policy.own), "rules": _rules(policy)})

    async def modules(self, policy: CheckedPolicy) -> list[Module]:
        """Return all modules: the policy's own parsed, the shipped ones by their place.

        Raises:
            BundleRejectedError: a file cannot be parsed.
        """
        paths = {*rego_of(policy), *_ALWAYS}
        # A rule is read too when only its tests are the policy's own.
        tested = {path.removesuffix("_test.rego") + ".rego" for path in policy.own if path.endswith("_test.rego")}
        parsed = sorted(path for path in paths if path in policy.own or path in tested or path in _ALWAYS)
        found = await asyncio.gather(*(self._parsed(policy, path) for path in parsed))
        return [*found, *(_shipped(path) for path in sorted(paths.difference(parsed)))]

    async def _parsed(self, policy: CheckedPolicy, path: str) -> Module:
        workshop = await self._workshops.of(policy)
        if not (workshop.root / path).exists():
            return _shipped(path)
        async with self._turn:
            return Module(path, dict(await self._opa.parse(workshop.root, path)))


def _of_changed_library(policy: CheckedPolicy) -> list[Problem]:
    """Return the files of the library that are not as this version ships them: they compose and guard all rules."""
    return [
        Problem(
            "lint.library",
            "a part of the library that all rules stand on is not as it is shipped",
            hint="Take it back from the library, and say it in a rule of your own; or have it waived by its owner",
            path=path,
            line=1,
            subject=path,
        )
        for path in sorted(policy.own)
        if not path.startswith("rego/aisecops/rules/") and not path.endswith("_test.rego") and path in policy.shipped
    ]


def _shipped(path: str) -> Module:
    """Return what is known of a file of the library without parsing it: its package is its directory."""
    folder = PurePosixPath(path).parent.parts[1:]
    name = f"{folder[-1]}_test" if path.endswith("_test.rego") else folder[-1]
    parts = ["data", *folder[:-1], name]
    return Module(path, {"package": {"path": [{"type": "string", "value": part} for part in parts]}})


def _rules(policy: CheckedPolicy) -> int:
    rules = [path for path in policy.tree.files if path.startswith("rego/aisecops/rules/")]
    return sum(path.endswith(".rego") and not path.endswith("_test.rego") for path in rules)
