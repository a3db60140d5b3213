"""Whether tables and the files of gates fit their models and Rego compiles: strictly, typed, allowed built-ins only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aisecops_server.adapters.bundles.checks.workshop import REGO, Workshops, rego_of, whole_digest
from aisecops_server.adapters.bundles.gate_files import broken_gate_files
from aisecops_server.adapters.bundles.layout import CompileTables, Library, arrange
from aisecops_server.adapters.bundles.opa_cli import OpaCli, compiler_errors
from aisecops_server.adapters.bundles.yaml_places import line_of
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Problem
from aisecops_server.ports.checking import CheckedPolicy

_MOST_TOLD = 50
_HINTS = {
    "undefined function": "The built-in is not allowed, its answer cannot be repeated; see rego/capabilities.json",
    "undefined ref": "The document has no such field; docs/reference/input-document.md lists them",
    "match error": "Two kinds of values are compared; numbers are numbers, not texts",
    "unused": "Remove it, or use it",
    "conflicts with": "Two files define the same; give each rule a package of its own",
}


class CompileCheck:
    """Compiles tables and Rego, with tests."""

    name = CheckName.COMPILE

    def __init__(self, opa: OpaCli, workshops: Workshops, *, library: Library, compile_tables: CompileTables) -> None:
        self._opa = opa
        self._workshops = workshops
        self._library = library
        self._compile_tables = compile_tables

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return everything that a bundle is made of, and the tests."""
        return {"files": whole_digest(policy.tree.files), "library": self._library.digest}

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return what does not fit: the first thing of the tables, and everything of the Rego."""
        problems = []
        try:
            await asyncio.to_thread(arrange, policy.tree, self._library, self._compile_tables)
        except BundleRejectedError as error:
            problems.append(table_problem(policy, error))
        problems += [table_problem(policy, error, code="compile.gates") for error in broken_gate_files(policy.tree)]
        problems += await self._rego(policy)
        return CheckResult(self.name, tuple(problems), {"files": len(rego_of(policy))})

    async def _rego(self, policy: CheckedPolicy) -> list[Problem]:
        workshop = await self._workshops.of(policy)
        arguments = ["check", "--strict", "--format", "json", "--capabilities", workshop.capabilities]
        code, output, errors = await self._opa.run(*arguments, "--schema", workshop.schemas, *REGO, cwd=workshop.root)
        if code == 0:
            return []
        listed = compiler_errors(errors or output)
        if not listed:
            told = (errors or output).decode("utf-8", "replace").strip()[:500]
            return [Problem("compile.rego", told or "it does not compile", hint="Mend the Rego", path="rego")]
        return [_problem(error) for error in listed[:_MOST_TOLD]]


def table_problem(policy: CheckedPolicy, error: BundleRejectedError, *, code: str = "compile.table") -> Problem:
    """Return what the makers of bundles complain of as a problem with its place."""
    told = error.metadata()
    path = told.get("file", "")
    if table := told.get("table"):
        path = next((known for known in policy.tree.files if known.startswith(f"data/{table}.")), f"data/{table}.yaml")
    line = int(told.get("line") or 0)
    if not line and (key := told.get("key")) and path in policy.tree.files:
        line = line_of(policy.tree.files[path], key)
    message = error.message.removeprefix(f"{path}:{line}: ").removeprefix(f"{path}: ")
    hint = error.hint if not told.get("table") else "The schema of the table lists its fields; your editor shows them"
    return Problem(code, message, hint=hint, path=path, line=line, subject=told.get("key") or path)


def _problem(error: Mapping[str, Any]) -> Problem:
    location = error.get("location") or {}
    message = str(error.get("message"))[:500]
    details = error.get("details") or {}
    if isinstance(details, Mapping) and (line := details.get("line")):
        message = f"{message}: {str(line).strip()[:120]}"
    hint = next((hint for words, hint in _HINTS.items() if words in message), "Mend it; the engine would refuse it too")
    path, row = str(location.get("file", "rego")), int(location.get("row") or 0)
    return Problem(f"compile.{_kind(error)}", message, hint=hint, path=path, line=row, subject=path)


def _kind(error: Mapping[str, Any]) -> str:
    known = {"rego_parse_error": "parse", "rego_type_error": "type", "rego_unsafe_var_error": "unsafe"}
    return known.get(str(error.get("code")), "rego")
