from __future__ import annotations

import json
from typing import Any

import pytest
from aisecops_server.domain.errors import BundleRejectedError, InvalidRequestError
from aisecops_server.domain.policy.golden_case import GoldenCase, asked, read_cases

AGENTS = {"spiffe://a.example/agent/one": {}, "spiffe://a.example/agent/two": {}, "spiffe://b.example/agent/two": {}}
STEP = {"tool": "tickets/read", "arguments": {"ticket_id": "T-1"}}


def case(**fields: Any) -> dict[str, Any]:
    return {"case": "c", "agent": "one", "steps": [STEP], "expect": {"outcome": "ALLOW"}, **fields}


def read(**fields: Any) -> GoldenCase:
    [found] = read_cases("cases/a.yaml", [case(**fields)])
    return found


def principal(**fields: Any) -> str:
    document: str = json.loads(asked(read(**fields), {"agents": AGENTS}).document)["principal"]["id"]
    return document


def test_an_agent_is_named_by_its_id_or_by_the_last_part_of_it() -> None:
    assert principal(agent="one") == "spiffe://a.example/agent/one"
    assert principal(agent="spiffe://b.example/agent/two") == "spiffe://b.example/agent/two"
    assert principal(agent="stranger") not in AGENTS


def test_the_same_case_is_the_same_document() -> None:
    assert asked(read(), {}).document == asked(read(), {}).document
    assert asked(read(), {}).document != asked(read(session_calls=1), {}).document


def test_a_text_becomes_a_document_about_texts() -> None:
    screened = asked(read(steps=[], text={"direction": "prompt", "content": "Hello"}), {})
    assert json.loads(screened.document)["kind"] == "screen"
    assert screened.step_ids == ("s1",)


def test_an_influence_without_content_is_known_by_a_digest_only() -> None:
    document = json.loads(asked(read(sources=[{"kind": "memory"}]), {}).document)
    assert document["grounding"]["unsearched"] == [document["sources"][0]["id"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"expect": {}},
        {"expect": {"outcome": "MAYBE"}},
        {"steps": []},
        {"text": {"direction": "prompt", "content": "x"}},
        {"document": {}},
        {"agent": ""},
        {"stepz": []},
        {"sources": [{"kind": "rumour", "content": "x"}]},
        {"steps": [], "text": {"direction": "sideways", "content": "x"}},
    ],
)
def test_a_case_that_says_something_else_is_refused_with_its_file(fields: dict[str, Any]) -> None:
    with pytest.raises(BundleRejectedError) as refused:
        read(**fields)
    assert "cases/a.yaml" in refused.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": [{**STEP, "tool": "no slash"}]},
        {"steps": [], "text": {"direction": "prompt", "content": "x" * 200_000}},
        {"delegation": ["not an id"]},
    ],
)
def test_a_case_that_breaks_the_contract_is_no_case(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        asked(read(**fields), {})


@pytest.mark.parametrize("content", [None, {}, "text", [1], [[]], [{"case": ""}]])
def test_a_file_that_holds_no_cases_is_refused(content: Any) -> None:
    with pytest.raises(BundleRejectedError):
        read_cases("cases/a.yaml", content)
