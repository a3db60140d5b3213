"""Decides the golden cases of a policy with the real engine: real documents, real tables, one query for all."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.decisions.decision import Conclusion, Verdict, conclude
from aisecops_server.domain.policy.golden_case import GoldenCase, asked, read_cases
from aisecops_server.domain.tables.compiled_tables import compile_tables

from tests.scenes.policy.rego_contract import REGO, run_opa

BUNDLE = REGO.parent / "bundles" / "default"


def cases() -> list[GoldenCase]:
    files = sorted((BUNDLE / "cases").glob("*.yaml"))
    return [case for path in files for case in read_cases(path.name, parse_yaml(path.name, path.read_bytes()))]


@functools.cache
def tables() -> dict[str, Any]:
    return compile_tables({path.stem: yaml.safe_load(path.read_text()) for path in (BUNDLE / "data").glob("*.yaml")})


def decide(chosen: Sequence[GoldenCase], scratch: Path) -> list[Conclusion]:
    questions = [asked(case, tables()) for case in chosen]
    (scratch / "data.json").write_text(json.dumps({"tables": tables()}))
    (scratch / "input.json").write_text(json.dumps({"items": [json.loads(item.document) for item in questions]}))
    query = "data.aisecops.batch.decisions"
    files = ("-d", scratch / "data.json", "-d", REGO / "aisecops", "--ignore", "*_test.rego")
    answer = run_opa("eval", "--strict-builtin-errors", "-f", "json", "-i", scratch / "input.json", *files, query)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    decisions = json.loads(answer.stdout)["result"][0]["expressions"][0]["value"]
    return [
        conclude(
            Verdict(result=decision, revision="r", engine_version="v", evaluation_ns=0),
            step_ids=item.step_ids,
            expected_revision="r",
        )
        for item, decision in zip(questions, decisions, strict=True)
    ]
