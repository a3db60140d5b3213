"""Decides the golden cases of a policy with the real engine: real documents, real tables, one query for all."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from aisecops_server.domain.budget import Usage
from aisecops_server.domain.compiled_tables import compile_tables
from aisecops_server.domain.decision import Conclusion, Mode, Verdict, conclude
from aisecops_server.domain.grounding import ground
from aisecops_server.domain.identity import Principal, PrincipalId, Role
from aisecops_server.domain.input_document import Circumstances, build
from aisecops_server.domain.plan import ExecutionPlan, PlanId, TraceId
from aisecops_server.domain.plan_builder import (
    DelegateDraft,
    Fresh,
    PlanDraft,
    SourceDraft,
    StepDraft,
    build_plan,
    plan_hash,
)
from aisecops_server.domain.provenance import SourceKind
from aisecops_server.domain.usage import subjects_of

from tests.rego_contract import REGO, run_opa

BUNDLE = REGO.parent / "bundles" / "default"
AGENT = "spiffe://corp.example/agent/"
NOW_NS = 1_767_225_600_000_000_000
Case = Mapping[str, Any]


def cases() -> list[Case]:
    return [case for path in sorted((BUNDLE / "cases").glob("*.yaml")) for case in yaml.safe_load(path.read_text())]


def plan_of(case: Case) -> ExecutionPlan:
    draft = PlanDraft(
        steps=tuple(
            StepDraft(
                id=f"s{number}",
                tool=step["tool"],
                arguments_json=json.dumps(step["arguments"]).encode(),
                capability=step.get("capability", ""),
            )
            for number, step in enumerate(case["steps"], 1)
        ),
        sources=tuple(
            SourceDraft(
                id=f"source-{number}",
                kind=SourceKind(source["kind"]),
                content=source["content"].encode(),
                tool=source.get("tool", ""),
            )
            for number, source in enumerate(case["sources"], 1)
        ),
        environment=case.get("environment", "production"),
        delegation=tuple(DelegateDraft(agent_id=agent) for agent in case.get("delegation", ())),
    )
    return build_plan(draft, Fresh(TraceId("f" * 32), PlanId("plan-1")))


def document_of(case: Case) -> Any:
    plan = plan_of(case)
    principal = Principal(PrincipalId(AGENT + case["agent"]), "mtls", frozenset({Role.AGENT}))
    circumstances = Circumstances(
        mode=Mode.ENFORCE,
        principal=principal,
        now_ns=NOW_NS,
        session_calls=case.get("session_calls", 0),
        verified_links=tuple(case.get("verified", True) for _ in plan.delegation),
        usage=Usage(subjects_of(principal.id, plan, tables())),
    )
    hashed = plan_hash(plan, principal.id)
    return json.loads(build(plan, plan_hash=hashed, grounding=ground(plan), circumstances=circumstances))


@functools.cache
@functools.cache
def tables() -> dict[str, Any]:
    return compile_tables({path.stem: yaml.safe_load(path.read_text()) for path in (BUNDLE / "data").glob("*.yaml")})


def decide(chosen: Sequence[Case], scratch: Path) -> list[Conclusion]:
    (scratch / "data.json").write_text(json.dumps({"tables": tables()}))
    (scratch / "input.json").write_text(json.dumps({"items": [document_of(case) for case in chosen]}))
    query = "data.aisecops.batch.decisions"
    files = ("-d", scratch / "data.json", "-d", REGO / "aisecops", "--ignore", "*_test.rego")
    answer = run_opa("eval", "--strict-builtin-errors", "-f", "json", "-i", scratch / "input.json", *files, query)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    decisions = json.loads(answer.stdout)["result"][0]["expressions"][0]["value"]
    return [
        conclude(
            Verdict(result=decision, revision="r", engine_version="v", evaluation_ns=0),
            step_ids=[step.id for step in plan_of(case).steps],
            expected_revision="r",
        )
        for case, decision in zip(chosen, decisions, strict=True)
    ]
