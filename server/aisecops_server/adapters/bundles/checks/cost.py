"""What one evaluation takes, by the engine's own benchmark, on the base and on the candidate side by side."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.adapters.bundles.layout import CompileTables, Library, TableReader, arrange
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.errors import AisecopsError, BundleRejectedError
from aisecops_server.domain.policy.golden_case import asked, read_cases
from aisecops_server.domain.policy.impact import Cost

_QUERY = "data.aisecops.decision.decision"


class MeasureCost:
    """Measures evaluations of the longest golden case of the base, on both sides at the same time."""

    def __init__(self, opa: OpaCli, *, library: Library, compile_tables: CompileTables) -> None:
        self._opa = opa
        self._library = library
        self._compile_tables = compile_tables

    async def __call__(self, base: PolicyTree, candidate: PolicyTree) -> tuple[Cost, Cost] | None:
        """Return the costs of base and candidate; nothing when there is no case, or one of them cannot be measured.

        Raises:
            BundleRejectedError: one of them is no policy.
            EngineUnavailableError: there is no engine.
        """
        read = TableReader()
        layouts = [arrange(tree, self._library, self._compile_tables, read=read) for tree in (base, candidate)]
        document = _longest(base, layouts[0].tables)
        if not document:
            return None
        first, second = await asyncio.gather(*(self._measured(layout.files, document) for layout in layouts))
        return (first, second) if first and second else None

    async def _measured(self, files: Mapping[str, bytes], document: bytes) -> Cost | None:
        with tempfile.TemporaryDirectory(prefix="aisecops-bench-") as directory:
            root = Path(directory)
            for path, content in {
                **{f"bundle/{name}": text for name, text in files.items()},
                "in.json": document,
            }.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
            arguments = ["bench", "--format", "json", "--bundle", "bundle", "--input", "in.json", _QUERY]
            # An evaluation takes one core; on more, the collector of one side would slow the other side down.
            code, output, _ = await self._opa.run(*arguments, cwd=root, cores=1)
        return _cost(orjson.loads(output)) if code == 0 else None


def _cost(told: Any) -> Cost | None:
    runs = told if isinstance(told, list) else [told]
    if not runs or not runs[0].get("N"):
        return None
    run = runs[0]
    count = int(run["N"])
    extra = run.get("Extra") or {}
    mean = int(run["T"]) // count
    return Cost(
        p50_ns=int(extra.get("histogram_timer_rego_query_eval_ns_median", mean)),
        p99_ns=int(extra.get("histogram_timer_rego_query_eval_ns_99%", mean)),
        allocations=int(run["MemAllocs"]) // count,
        bytes=int(run["MemBytes"]) // count,
    )


def _longest(tree: PolicyTree, tables: Mapping[str, Any]) -> bytes:
    found = b""
    for path, content in sorted(tree.files.items()):
        if not path.startswith("cases/"):
            continue
        try:
            cases = read_cases(path, parse_yaml(path, content))
        except BundleRejectedError:
            continue
        for case in cases:
            try:
                document = asked(case, tables).document
            except (AisecopsError, ValueError):
                continue
            found = max(found, document, key=len)
    return found
