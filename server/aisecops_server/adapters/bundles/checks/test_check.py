"""Whether the tests of the policy's own rules pass, and run every line of them.

What stands as it is shipped was tested with the product. As soon as a part is changed that all rules stand on, all
tests are run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from aisecops_server.adapters.bundles.checks.workshop import REGO, Workshop, Workshops, digests, rego_of
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Problem, in_order
from aisecops_server.domain.policy.rule_text import names_of_tests
from aisecops_server.ports.checking import CheckedPolicy

_SECONDS = "60s"
_MOST_TOLD = 100
_MOST_BRANCHES = 200


class TestCheck:
    """Runs the tests."""

    name = CheckName.TEST

    def __init__(self, opa: OpaCli, workshops: Workshops) -> None:
        self._opa = opa
        self._workshops = workshops

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return all Rego."""
        return {"files": digests(rego_of(policy)), "own": sorted(policy.own)}

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return the tests that fail, and the lines that none runs."""
        if not policy.own:
            return CheckResult(self.name, facts={"tests": 0, "covered_percent": 100})
        if policy.has_own_library:
            results = await run_tests(self._opa, await self._workshops.of(policy), chosen=())
            if isinstance(results, Problem) or any(map(_has_failed, results)):
                return self._failed(results)
        workshop = await self._workshops.small(policy, _files(policy))
        try:
            return await self._own(policy, workshop)
        finally:
            await self._workshops.discard(workshop)

    async def _own(self, policy: CheckedPolicy, workshop: Workshop) -> CheckResult:
        chosen = own_tests(policy)
        arguments = ["test", "--coverage", "--timeout", _SECONDS, *_only(chosen)]
        code, output, errors = await self._opa.run(*arguments, *REGO, cwd=workshop.root)
        if code == 0:
            return self._covered(policy, orjson.loads(output)["files"])
        # With coverage the engine names one failing test; without it, all of them.
        results = await run_tests(self._opa, workshop, chosen=chosen)
        told = self._failed(results)
        return told if told.problems else CheckResult(self.name, (_broken(errors or output),))

    def _failed(self, results: list[Mapping[str, Any]] | Problem) -> CheckResult:
        if isinstance(results, Problem):
            return CheckResult(self.name, (results,))
        failed = in_order([_failed(result) for result in results if _has_failed(result)])
        return CheckResult(self.name, failed, {"tests": len(results)})

    def _covered(self, policy: CheckedPolicy, files: Mapping[str, Any]) -> CheckResult:
        missed = [problem for path in sorted(policy.own) for problem in _missed(path, files.get(path))]
        lines = sum(_length(span) for path in policy.own for span in _spans(files, path, "covered"))
        left = sum(_length(span) for path in policy.own for span in _spans(files, path, "not_covered"))
        percent = 100 * lines // (lines + left) if lines + left else 100
        facts: dict[str, JsonValue] = {"tests": _count(policy), "covered_percent": percent}
        return CheckResult(self.name, in_order(missed[:_MOST_TOLD]), facts)


async def run_tests(opa: OpaCli, workshop: Workshop, *, chosen: tuple[str, ...]) -> list[Mapping[str, Any]] | Problem:
    """Return what became of each test, of the ``chosen`` packages only when there are any."""
    arguments = ["test", "--format", "json", "--timeout", _SECONDS, *_only(chosen)]
    code, output, errors = await opa.run(*arguments, *REGO, cwd=workshop.root)
    try:
        results = orjson.loads(output or b"[]")
    except orjson.JSONDecodeError:
        return _broken(errors or output)
    if code not in (0, 2) or not isinstance(results, list):
        return _broken(errors or output)
    return results


def own_tests(policy: CheckedPolicy) -> tuple[str, ...]:
    """Return the packages whose tests stand beside what is the policy's own."""
    folders = {path.rpartition("/")[0].removeprefix("rego/") for path in policy.own}
    return tuple(sorted(f"data.{folder.replace('/', '.')}_test" for folder in folders))


def _has_failed(result: Mapping[str, Any]) -> bool:
    return bool(result.get("fail") or result.get("error"))


def _files(policy: CheckedPolicy) -> list[str]:
    """Return the policy's own files with their tests, or the rules that they are tests of."""
    pairs = {path.removesuffix(".rego").removesuffix("_test") for path in policy.own}
    return [f"{stem}{ending}" for stem in sorted(pairs) for ending in (".rego", "_test.rego")]


def _count(policy: CheckedPolicy) -> int:
    files = rego_of(policy)
    tests = [path for path in _files(policy) if path in files and path.endswith("_test.rego")]
    texts = (files[path].decode("utf-8", "replace") for path in tests)
    return sum(len(set(names_of_tests(text))) for text in texts)


def _only(packages: tuple[str, ...]) -> list[str]:
    # The engine takes an expression; names of packages have nothing in them that means something else there but dots.
    if not packages or len(packages) > _MOST_BRANCHES:
        return []
    return ["--run", f"^({'|'.join(package.replace('.', '[.]') for package in packages)})[.]"]


def _failed(result: Mapping[str, Any]) -> Problem:
    location = result.get("location") or {}
    error = result.get("error")
    why = f": {str(error.get('message', error))[:300]}" if isinstance(error, Mapping) else ""
    return Problem(
        "test.failed",
        f"{result.get('name')} fails{why}",
        hint="Mend the rule, or the test when it expects what is no longer meant",
        path=str(location.get("file", "")),
        line=int(location.get("row") or 0),
        subject=str(result.get("package", "")).removeprefix("data."),
    )


def _missed(path: str, covered: Any) -> Iterator[Problem]:
    if path.endswith("_test.rego"):
        return
    if not isinstance(covered, dict):
        yield _uncovered(path, 1, "no test runs any of it")
        return
    for span in covered.get("not_covered") or []:
        yield _uncovered(path, int(span["start"]["row"]), "no test runs this line")


def _uncovered(path: str, line: int, message: str) -> Problem:
    hint = f"Add a test for it in {path.rpartition('/')[2].removesuffix('.rego')}_test.rego, or remove the line"
    return Problem("test.uncovered", message, hint=hint, path=path, line=line, subject=path)


def _spans(files: Mapping[str, Any], path: str, kind: str) -> list[Mapping[str, Any]]:
    # The engine counts the tests' own lines too; they say nothing of how well policy is tested.
    return [] if path.endswith("_test.rego") else list((files.get(path) or {}).get(kind) or [])


def _length(span: Mapping[str, Any]) -> int:
    return int(span["end"]["row"]) - int(span["start"]["row"]) + 1


def _broken(told: bytes) -> Problem:
    text = told.decode("utf-8", "replace").strip()[:500]
    return Problem("test.broken", f"the tests cannot be run: {text}", hint="Mend the tests", path="rego")
