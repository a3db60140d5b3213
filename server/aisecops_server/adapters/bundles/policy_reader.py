"""Reads a policy tree for what it means: clauses by their syntax trees, tables by their values, all with places.

Only OPA's own parser reads Rego here. Files that are equal on both sides of a comparison are not parsed at all, and
what was parsed once is remembered by its content.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aisecops_server.adapters.bundles.layout import rego_files, table_files
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.yaml_places import leaves
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.policy.policy_meaning import METADATA, Clause, PolicyText, Row

PARSERS = 2
REMEMBERED_FILES = 512
# A rule that reads the annotations of its clauses makes them a part of what it says.
_READS_ANNOTATIONS = b"rego.metadata.rule"
_PACKAGE_SCOPES = frozenset({"package", "subpackages"})
_SHOWN_CHARACTERS = 4000


class OpaPolicyReader:
    """Implements ``PolicyReader`` with the OPA binary."""

    def __init__(self, opa: OpaCli) -> None:
        self._opa = opa
        self._parsers = asyncio.Semaphore(PARSERS)
        self._parsed: dict[tuple[str, str], tuple[Clause, ...]] = {}

    async def read(self, tree: PolicyTree, *, against: PolicyTree) -> PolicyText:
        """Return the clauses of the files of ``tree`` that ``against`` has not byte for byte, and all its tables.

        Raises:
            BundleRejectedError: a file cannot be parsed.
            EngineUnavailableError: there is no OPA binary to parse with.
        """
        other = dict(rego_files(against))
        differing = [(path, content) for path, content in rego_files(tree) if other.get(path) != content]
        parsed = await asyncio.gather(*(self._clauses(path, content) for path, content in differing))
        clauses = tuple(clause for file in parsed for clause in file)
        tables, rows = await asyncio.to_thread(_tables, tree)
        return PolicyText(clauses, tables, rows)

    async def _clauses(self, path: str, content: bytes) -> tuple[Clause, ...]:
        key = (path, hashlib.sha256(content).hexdigest())
        if key not in self._parsed:
            async with self._parsers:
                module = await self._parse(path, content)
            if len(self._parsed) >= REMEMBERED_FILES:
                self._parsed.clear()
            self._parsed[key] = tuple(_clauses(path, content, module))
        return self._parsed[key]

    async def _parse(self, path: str, content: bytes) -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory(prefix="aisecops-") as directory:
            file = Path(directory) / path
            file.parent.mkdir(parents=True)
            file.write_bytes(content)
            return await self._opa.parse(Path(directory), path)


def _clauses(path: str, content: bytes, module: Mapping[str, Any]) -> Iterator[Clause]:
    package = ".".join(str(part["value"]) for part in module["package"]["path"][1:])
    clause = functools.partial(Clause, package, file=f"rego/{path}")
    for imported in module.get("imports") or []:
        yield clause("import", digest=_digest(imported), line=_line(imported), text=_text(imported["path"]))
    for annotation in module.get("annotations") or []:
        if annotation.get("scope") in _PACKAGE_SCOPES or _READS_ANNOTATIONS in content:
            yield clause(METADATA, digest=_digest(annotation), line=_line(annotation), text=_text(annotation))
    for rule in module.get("rules") or []:
        said = {name: part for name, part in rule.items() if name != "annotations"}
        yield clause(_name(rule["head"]), digest=_digest(said), line=_line(rule), text=_text(rule))


def _name(head: Mapping[str, Any]) -> str:
    return ".".join(str(part.get("value")) for part in head.get("ref") or []) or str(head.get("name"))


def _digest(part: Mapping[str, Any]) -> str:
    return digest(canonical_bytes(_without_places(part)))


def _without_places(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _without_places(value) for name, value in part.items() if name != "location"}
    if isinstance(part, list):
        return [_without_places(value) for value in part]
    return part


def _line(part: Mapping[str, Any]) -> int:
    return int(part["location"]["row"])


def _text(part: Mapping[str, Any]) -> str:
    return base64.b64decode(part["location"]["text"]).decode("utf-8", "replace")[:_SHOWN_CHARACTERS]


def _tables(tree: PolicyTree) -> tuple[Mapping[str, JsonValue], tuple[Row, ...]]:
    tables: dict[str, JsonValue] = {}
    rows: list[Row] = []
    for name, path in table_files(tree):
        content = tree.files[path]
        tables[name] = parse_yaml(path, content)
        # A file that stands nowhere has no lines to point at.
        known = path not in tree.drafted
        rows += [
            Row((name, *place), value, path, line if known else 0)
            for place, value, line in leaves(content, tables[name])
        ]
    return tables, tuple(rows)
