"""Conditions over what people edit: the tables, the manifest and the files of gates, as Conftest policies.

Conftest runs them where it is installed, the engine otherwise, with the same Rego on the same input: a list of
``{path, contents}``, as Conftest's ``--combine`` makes it. What the product ships always runs; a policy repository adds
its own below ``conftest/``. Neither can reach the network, and neither is ever part of a bundle.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.adapters.bundles.bounded_run import run_bounded
from aisecops_server.adapters.bundles.checks.workshop import digests
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.yaml_places import line_of
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Level, Problem, in_order
from aisecops_server.ports.checking import CheckedPolicy

PREFIX = "conftest/"
_KINDS = {"deny": Level.ERROR, "violation": Level.ERROR, "warn": Level.WARNING}
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a policy, in the form that both programs give."""

    namespace: str
    level: Level
    message: Mapping[str, Any]


class ConftestCheck:
    """Runs Conftest policies. ``program`` tells Conftest's path at each run; without one the engine runs them."""

    name = CheckName.CONFTEST

    def __init__(self, opa: OpaCli, *, policies: Path, capabilities: bytes, program: Callable[[], Path | None]) -> None:
        self._opa = opa
        self._policies = policies
        self._capabilities = capabilities
        self._program = program

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return what people edit, the conditions, the day, and who runs them."""
        program = self._program()
        return {
            "files": digests(_edited(policy)),
            "policies": digests(self._rego(policy)),
            "today": policy.today.isoformat(),
            "program": str(program or ""),
        }

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return what the conditions say."""
        try:
            documents = list(_documents(policy))
        except BundleRejectedError as error:
            return CheckResult(self.name, skipped=f"a file cannot be read: {error.message[:200]}")
        program = self._program()
        root = await asyncio.to_thread(self._furnished, policy, documents)
        try:
            said = await (self._by_conftest(program, root, documents) if program else self._by_engine(root))
        finally:
            await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
        if isinstance(said, Problem):
            return CheckResult(self.name, (said,))
        problems = in_order([_problem(each, policy) for each in said])
        return CheckResult(self.name, problems, {"files": len(documents), "run_by": "conftest" if program else "opa"})

    def _rego(self, policy: CheckedPolicy) -> dict[str, bytes]:
        """Return the conditions; what the product ships counts before a file of the same path."""
        own = {path: text for path, text in policy.tree.files.items() if _is_condition(path)}
        shipped = {
            f"{PREFIX}{file.relative_to(self._policies).as_posix()}": file.read_bytes()
            for file in sorted(self._policies.rglob("*.rego"))
            if not file.name.endswith("_test.rego")
        }
        return {**own, **shipped}

    def _furnished(self, policy: CheckedPolicy, documents: Sequence[Mapping[str, JsonValue]]) -> Path:
        root = Path(tempfile.mkdtemp(prefix="aisecops-conftest-"))
        files = self._rego(policy)
        # What was read by our own reader, as JSON, which every reader of YAML reads alike.
        files |= {f"input/{each['path']}": canonical_bytes(_wrapped(each["contents"])) for each in documents}
        files |= {"input.json": canonical_bytes(list(documents)), "capabilities.json": self._capabilities}
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return root

    async def _by_engine(self, root: Path) -> list[Said] | Problem:
        arguments = ["eval", "--format", "json", "--strict-builtin-errors", "--capabilities", "capabilities.json"]
        code, output, errors = await self._opa.run(*arguments, "-d", "conftest", "-i", "input.json", "data", cwd=root)
        if code != 0:
            return _broken(errors or output)
        value = orjson.loads(output)["result"][0]["expressions"][0]["value"]
        return list(_said(value, ()))

    async def _by_conftest(
        self, program: Path, root: Path, documents: Sequence[Mapping[str, JsonValue]]
    ) -> list[Said] | Problem:
        paths = [str(each["path"]) for each in documents]
        arguments = ["test", "--combine", "--all-namespaces", "--output", "json", "--no-color", "--no-fail"]
        arguments += ["--policy", "../conftest", "--capabilities", "../capabilities.json"]
        # It looks for plugins in its home, and nobody has put any there.
        home = root / "home"
        home.mkdir()
        environment = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(home))
        done = await run_bounded(
            program, *arguments, *paths, cwd=root / "input", seconds=_SECONDS, environment=environment
        )
        try:
            results = orjson.loads(done.output)
        except orjson.JSONDecodeError:
            return _broken(done.errors or done.output)
        return [
            Said(str(result["namespace"]), level, {**(each.get("metadata") or {}), "msg": each["msg"]})
            for result in results
            for key, level in (("failures", Level.ERROR), ("warnings", Level.WARNING))
            for each in result.get(key) or []
        ]


def _wrapped(contents: JsonValue) -> JsonValue:
    """Return what Conftest reads as ``contents``: of a list it makes a document for each entry."""
    return [contents] if isinstance(contents, list) else contents


def _is_condition(path: str) -> bool:
    return path.startswith(PREFIX) and path.endswith(".rego") and not path.endswith("_test.rego")


def _edited(policy: CheckedPolicy) -> dict[str, bytes]:
    """Return what people edit without writing Rego, except golden cases, which are checked by deciding them."""
    return {
        path: text
        for path, text in policy.tree.files.items()
        if path.startswith("data/") or ("/" not in path and path.endswith((".yaml", ".yml")))
    }


def _documents(policy: CheckedPolicy) -> Iterator[Mapping[str, JsonValue]]:
    for path, text in sorted(_edited(policy).items()):
        yield {"path": path, "contents": parse_yaml(path, text)}
    yield {"path": "check.yaml", "contents": {"today": policy.today.isoformat()}}


def _said(value: Any, path: tuple[str, ...]) -> Iterator[Said]:
    if not isinstance(value, dict):
        return
    for name, part in sorted(value.items()):
        level = _KINDS.get(name.partition("_")[0])
        if level is not None and isinstance(part, list):
            for message in part:
                yield Said(".".join(path), level, message if isinstance(message, dict) else {"msg": str(message)})
        else:
            yield from _said(part, (*path, name))


def _problem(said: Said, policy: CheckedPolicy) -> Problem:
    """Return a message as a problem; ``path`` and ``keys`` in it say where it is, ``code`` and ``subject`` what."""
    told = said.message
    path, keys = str(told.get("path", "")), [str(key) for key in told.get("keys") or []]
    content = policy.tree.files.get(path)
    return Problem(
        code=f"conftest.{told.get('code') or said.namespace.removeprefix('conftest.')}",
        message=str(told.get("msg", "")),
        hint=str(told.get("hint", "")),
        path=path,
        line=line_of(content, *keys) if content and keys else 0,
        subject=str(told.get("subject") or ".".join(keys) or path),
        level=said.level,
    )


def _broken(told: bytes) -> Problem:
    text = told.decode("utf-8", "replace").strip()
    return Problem(
        "conftest.broken",
        f"the conditions cannot be run: {text[:500]}",
        hint="Mend the Rego below conftest/; it may use the built-ins that policy may use",
        path="conftest",
    )
