"""A batch is as much work as its documents one by one: what `with` does to the engine's memory must not double it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aisecops_server.domain.policy.golden_case import GoldenCase, asked

from tests.scenes.policy.policy_cases import cases, tables
from tests.scenes.policy.rego_contract import REGO, run_opa

# What the batch itself evaluates: its own lines once, and two for each document.
OWN, FOR_EACH = 10, 4


def test_a_batch_evaluates_nothing_twice(tmp_path: Path) -> None:
    documents = [json.loads(asked(case, tables()).document) for case in _one_of_each_outcome()]
    alone = sum(_expressions("data.aisecops.decision.decision", document, tmp_path) for document in documents)
    together = _expressions("data.aisecops.batch.decisions", {"items": documents}, tmp_path)
    assert alone <= together <= alone + OWN + FOR_EACH * len(documents)


def _one_of_each_outcome() -> list[GoldenCase]:
    return list({case.expect.outcome: case for case in cases()}.values())


def _expressions(query: str, document: Any, scratch: Path) -> int:
    """Return how many expressions the engine evaluates, which no other load on the machine changes."""
    (scratch / "data.json").write_text(json.dumps({"tables": tables()}))
    (scratch / "input.json").write_text(json.dumps(document))
    files = ("-d", scratch / "data.json", "-d", REGO / "aisecops", "--ignore", "*_test.rego")
    profile = ("--profile", "--profile-limit", "100000", "-f", "json")
    answer = run_opa("eval", *profile, "-i", scratch / "input.json", *files, query)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return sum(expression["num_eval"] for expression in json.loads(answer.stdout)["profile"])
