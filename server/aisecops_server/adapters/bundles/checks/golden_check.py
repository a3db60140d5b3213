"""Whether golden cases are decided as their authors expect: on real documents, with the policy's own tables."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.adapters.bundles.checks.compile_check import table_problem
from aisecops_server.adapters.bundles.checks.workshop import Workshops, whole_digest
from aisecops_server.adapters.bundles.layout import CompileTables, Library, arrange
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.decisions.decision import Conclusion, Verdict, conclude
from aisecops_server.domain.errors import AisecopsError, BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.policy.golden_case import Asked, GoldenCase, asked, difference, read_cases
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Problem, in_order
from aisecops_server.ports.checking import CheckedPolicy

CASES = "cases/"
_QUERY = "data.aisecops.batch.decisions"
_HINT = "Mend the policy; where the other decision is what is now meant, change the case and say why in the commit"


@dataclass(frozen=True, slots=True)
class _Placed:
    """A case with the file and line where it stands."""

    case: GoldenCase
    path: str
    line: int

    def problem(self, code: str, message: str, hint: str = _HINT) -> Problem:
        """Return a problem of this case."""
        return Problem(code, message, hint=hint, path=self.path, line=self.line, subject=self.case.case)


class GoldenCheck:
    """Decides golden cases in one query."""

    name = CheckName.GOLDEN

    def __init__(self, opa: OpaCli, workshops: Workshops, *, library: Library, compile_tables: CompileTables) -> None:
        self._opa = opa
        self._workshops = workshops
        self._library = library
        self._compile_tables = compile_tables

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return the cases and everything that decides them."""
        return {"files": whole_digest(policy.tree.files), "library": self._library.digest}

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return the cases that are decided otherwise, and what is no case."""
        try:
            layout = await asyncio.to_thread(arrange, policy.tree, self._library, self._compile_tables)
        except BundleRejectedError as error:
            return CheckResult(self.name, (table_problem(policy, error),))
        placed, problems = _read(policy)
        questions: list[tuple[_Placed, Asked]] = []
        for each in placed:
            try:
                questions.append((each, asked(each.case, layout.tables)))
            except (AisecopsError, ValueError) as error:
                problems.append(each.problem("golden.unreadable", f"'{each.case.case}' is no plan: {error}"))
        answers = await self._answers(policy, layout.files, [question for _, question in questions])
        for (each, _), answer in zip(questions, answers, strict=True):
            if told := difference(each.case, answer):
                problems.append(each.problem("golden.changed", f"'{each.case.case}': {told}"))
        return CheckResult(self.name, in_order(problems), {"cases": len(questions)})

    async def _answers(
        self, policy: CheckedPolicy, files: Mapping[str, bytes], questions: Sequence[Asked]
    ) -> list[Conclusion | AisecopsError]:
        if not questions:
            return []
        workshop = await self._workshops.of(policy)
        root = workshop.root / "golden"
        await asyncio.to_thread(_furnish, root, files, questions)
        arguments = ["eval", "--format", "json", "--strict-builtin-errors", "--bundle", "bundle", "-i", "input.json"]
        try:
            code, output, errors = await self._opa.run(*arguments, _QUERY, cwd=root)
        finally:
            await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
        if code != 0:
            told = (errors or output).decode("utf-8", "replace").strip()[:300]
            return [BundleRejectedError(f"the engine stopped: {told}")] * len(questions)
        decisions = orjson.loads(output)["result"][0]["expressions"][0]["value"]
        # One document without a decision leaves the list shorter, and nobody could say whose it is.
        if len(decisions) != len(questions):
            return [BundleRejectedError("not every document gets a decision")] * len(questions)
        return [_concluded(question, decision) for question, decision in zip(questions, decisions, strict=True)]


def _furnish(root: Path, files: Mapping[str, bytes], questions: Sequence[Asked]) -> None:
    for path, content in files.items():
        file = root / "bundle" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    documents = b",".join(question.document for question in questions)
    (root / "input.json").write_bytes(b'{"items":[' + documents + b"]}")


def _concluded(question: Asked, decision: Any) -> Conclusion | AisecopsError:
    verdict = Verdict(result=decision, revision="checked", engine_version="checked", evaluation_ns=0)
    try:
        return conclude(verdict, step_ids=question.step_ids, expected_revision="checked")
    except AisecopsError as error:
        return error


def _read(policy: CheckedPolicy) -> tuple[list[_Placed], list[Problem]]:
    placed: list[_Placed] = []
    problems: list[Problem] = []
    for path, content in sorted(policy.tree.files.items()):
        if not path.startswith(CASES):
            continue
        try:
            cases = read_cases(path, parse_yaml(path, content))
        except BundleRejectedError as error:
            line = int(error.metadata().get("line") or 0)
            problems.append(Problem("golden.unreadable", error.message, hint=error.hint, path=path, line=line))
            continue
        placed += [_Placed(case, path, line_of_case(content, case.case)) for case in cases]
    return placed, problems + _twice(placed)


def line_of_case(content: bytes, name: str) -> int:
    """Return the line on which a case begins, 1 when it cannot be found."""
    wanted = canonical_bytes(name).strip(b'"')
    return next((number for number, line in enumerate(content.splitlines(), 1) if wanted in line), 1)


def _twice(placed: Sequence[_Placed]) -> list[Problem]:
    first: dict[str, _Placed] = {}
    found = []
    for each in placed:
        if other := first.get(each.case.case):
            told = f"'{each.case.case}' stands in {other.path} already"
            found.append(each.problem("golden.twice", told, hint="Give each case a sentence of its own"))
        first.setdefault(each.case.case, each)
    return found
