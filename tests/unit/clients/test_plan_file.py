from __future__ import annotations

import json

import pytest
from aisecops.v1 import provenance_pb2
from aisecops_client.plan_file import PlanFileError, parse_plan, plan_from_mapping

PLAN = {
    "intent": "Answer a ticket.",
    "environment": "production",
    "steps": [
        {"step_id": "a", "tool": "tickets/comment", "arguments": {"ticket_id": "T-1", "body": "Grüße"}},
        {"step_id": "b", "tool": "tickets/close", "depends_on": ["a"], "influenced_by": ["ask"]},
    ],
    "sources": [{"source_id": "ask", "kind": "user_prompt", "content": "Close it", "declared_trust": "internal"}],
    "delegation": [{"agent_id": "spiffe://corp.example/agent/planner"}],
    "history": [{"step_id": "z", "tool": "tickets/read"}],
}


def test_a_plan_as_people_write_it_becomes_the_api_message() -> None:
    plan = parse_plan(json.dumps(PLAN))
    assert json.loads(plan.steps[0].arguments_json) == {"ticket_id": "T-1", "body": "Grüße"}
    assert plan.steps[1].arguments_json == b"{}"
    assert list(plan.steps[1].depends_on) == ["a"]
    assert plan.sources[0].kind == provenance_pb2.SOURCE_KIND_USER_PROMPT
    assert plan.sources[0].declared_trust == provenance_pb2.TRUST_LEVEL_INTERNAL
    assert plan.sources[0].content == b"Close it"
    assert plan.delegation[0].agent_id.endswith("planner")
    assert plan.history[0].tool == "tickets/read"


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("not json", "plan", "not JSON"),
        ('{"intent": "a", "intent": "b"}', "plan", "stands twice"),
        ('{"steps": [{"arguments": {"amount": NaN}}]}', "plan", "NaN"),
        ("[]", "plan", "must be an object"),
        ('{"steps": {}}', "steps", "must be a list"),
        ('{"source": []}', "plan", "did you mean 'sources'"),
        ('{"steps": [{"tol": "x/y"}]}', "steps[0]", "did you mean 'tool'"),
        ('{"steps": [{"arguments": []}]}', "steps[0].arguments", "must be an object"),
        ('{"steps": [{"depends_on": "a"}]}', "steps[0].depends_on", "must be a list"),
        ('{"intent": 3}', "plan.intent", "must be text"),
        ('{"sources": [{"source_id": "s"}]}', "sources[0].kind", "user_prompt"),
        ('{"sources": [{"kind": "prompt"}]}', "sources[0].kind", "user_prompt"),
        ('{"sources": [{"kind": "memory", "declared_trust": "high"}]}', "sources[0].declared_trust", "external"),
    ],
)
def test_what_is_not_a_plan_is_refused_by_field(text: str, field: str, said: str) -> None:
    with pytest.raises(PlanFileError) as raised:
        parse_plan(text)
    assert raised.value.field == field
    assert said in str(raised.value)


def test_a_mapping_that_is_empty_is_an_empty_plan_and_the_control_plane_judges_it() -> None:
    assert plan_from_mapping({}).ByteSize() == 0
