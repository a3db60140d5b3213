"""The page of one agent says what policy gives it and what became of what it asked."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from aisecops_server.domain.callers.identity import Role

from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(300)
SUPPORT = "spiffe://corp.example/agent/support-assistant"


def at(agent: str) -> str:
    return f"/agents/{quote(agent, safe='')}"


def test_an_agent_is_shown_as_the_api_has_it(scene: Scene) -> None:
    listed = json.loads(scene.get("/agents.json")[2])["page"]["agents"]
    for one in listed:
        status, _, body = scene.get(f"{at(one['agentId'])}.json")
        found = json.loads(body)
        assert (status, found["agent"]) == (200, one)
        query = quote(f"agent:{one['agentId']}")
        assert found["traces"] == json.loads(scene.get(f"/traces.json?q={query}")[2])["page"]["traces"]


def test_the_page_names_its_capabilities_with_who_gave_them_and_leads_to_its_traces(scene: Scene) -> None:
    found = json.loads(scene.get(f"{at(SUPPORT)}.json")[2])
    page = scene.get(at(SUPPORT))[2].decode()
    assert found["agent"]["capabilities"]
    for held in found["agent"]["capabilities"]:
        assert held["capability"] in page
        assert held["grantedBy"] in page
    for trace in found["traces"][:10]:
        assert f"/traces/{trace['traceId']}" in page
    levels = {trace["lowestTrust"] for trace in found["traces"]}
    assert all(f"trust%3A{level}" in page for level in levels)


def test_one_that_nobody_registered_is_said_to_be_denied_everything(scene: Scene) -> None:
    listed = json.loads(scene.get("/agents.json?registration=unregistered")[2])["page"]["agents"]
    assert listed
    assert "Everything that it asks is denied" in scene.get(at(listed[0]["agentId"]))[2].decode()


def test_one_that_there_is_not_is_not_found(scene: Scene) -> None:
    assert scene.get(at("spiffe://corp.example/agent/nobody"))[0] == 404


def test_who_may_not_read_traces_sees_the_agent_without_them(scene: Scene) -> None:
    seen = [role for role in Role if scene.get(at(SUPPORT), role)[0] == 200]
    assert Role.AUDITOR in seen
    for role in seen:
        page = scene.get(at(SUPPORT), role)[2].decode()
        may_list = scene.get("/traces", role)[0] == 200
        assert ("Its traces are not shown" in page) != may_list, role
