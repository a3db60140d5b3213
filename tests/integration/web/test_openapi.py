"""The OpenAPI document is sound, tells of every call with its roles, and is what the gateway really answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aisecops_server.domain.callers.identity import Role
from google.protobuf import json_format
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.integration.api.calls import EVERY_CALL
from tests.integration.api.plans import request
from tests.integration.api.test_access import EXPECTED
from tests.scenes.planes.ui_scene import Scene

ROOT = Path(__file__).resolve().parents[3]
SHOWN = ROOT / "docs/reference/openapi.json"
SERVED = ROOT / "server/aisecops_server/entrypoints/web/openapi.json"
MANY_REQUESTS = {"DecisionService/Session", "EdgeService/Reconcile"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SHOWN.read_text("utf-8"))
    return found


def test_it_is_a_sound_document(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert list(OpenAPIV31SpecValidator({**document, "info": {"title": "no version"}}).iter_errors())


def test_it_has_every_call_with_its_roles_and_what_it_does(document: dict[str, Any]) -> None:
    calls = {path.removeprefix("/api/v1/"): item["post"] for path, item in document["paths"].items()}
    assert {f"/aisecops.v1.{name}" for name in [*calls, *MANY_REQUESTS]} == set(EVERY_CALL)
    assert {name: {Role(role) for role in call["x-roles"]} for name, call in calls.items()} == {
        name: roles for name, roles in EXPECTED.items() if name not in MANY_REQUESTS
    }
    assert [name for name, call in calls.items() if not call["description"]] == []


def test_it_is_served_to_whoever_asks_as_it_is_shown(scene: Scene) -> None:
    assert SERVED.read_bytes() == SHOWN.read_bytes()
    status, headers, body = scene.ask("GET", "/api/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body == SERVED.read_bytes()


def posted(scene: Scene, name: str, body: dict[str, Any], *roles: Role) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {scene.token(*roles)}", "Content-Type": "application/json"}
    status, _, found = scene.ask("POST", f"/api/v1/{name}", headers=headers, body=json.dumps(body))
    return status, json.loads(found)


def flaws(document: dict[str, Any], name: str, value: Any) -> list[str]:
    """Return what is wrong with a message by its schema; fields that the schema lacks are wrong as well."""
    schemas = {
        kind: {"additionalProperties": False, **schema} if "properties" in schema and kind != "Status" else schema
        for kind, schema in document["components"]["schemas"].items()
    }
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("AuditService/ListTraces", "ListTracesResponse"),
        ("BundleService/ListRevisions", "ListRevisionsResponse"),
        ("BundleService/GetStatus", "GetStatusResponse"),
        ("AgentService/ListAgents", "ListAgentsResponse"),
        ("BudgetService/ListBudgets", "ListBudgetsResponse"),
        ("ExecutionService/ListIncidents", "ListIncidentsResponse"),
        ("ApprovalService/ListApprovals", "ListApprovalsResponse"),
        ("TransparencyService/GetCheckpoint", "GetCheckpointResponse"),
        ("ComplianceService/ListFrameworks", "ListFrameworksResponse"),
        ("RolloutService/ListRollouts", "ListRolloutsResponse"),
    ],
)
def test_what_is_answered_is_what_the_document_says(
    scene: Scene, document: dict[str, Any], name: str, answer: str
) -> None:
    status, found = posted(scene, name, {}, Role.SECURITY)
    assert status == 200
    assert flaws(document, answer, found) == []
    assert flaws(document, answer, {**found, "nothing": 1}) != []


def test_a_whole_trace_and_an_error_are_what_the_document_says(scene: Scene, document: dict[str, Any]) -> None:
    for trace in scene.traces.values():
        status, found = posted(scene, "AuditService/GetTrace", {"traceId": trace}, Role.AUDITOR)
        assert (status, flaws(document, "GetTraceResponse", found)) == (200, [])
        asked = {"traceId": trace, "view": "TRACE_VIEW_OUTLINE"}
        status, outline = posted(scene, "AuditService/GetTrace", asked, Role.AUDITOR)
        assert (status, flaws(document, "GetTraceResponse", outline)) == (200, [])
    status, found = posted(scene, "AuditService/GetTrace", {"traceId": "x"}, Role.AUDITOR)
    assert (status, flaws(document, "Status", found)) == (400, [])


def test_a_plan_that_is_decided_is_what_the_document_says(scene: Scene, document: dict[str, Any]) -> None:
    body = json.loads(json_format.MessageToJson(request("tickets/read")))
    assert flaws(document, "DecideRequest", body) == []
    status, found = posted(scene, "DecisionService/Decide", body, Role.AGENT)
    assert (status, flaws(document, "DecideResponse", found)) == (200, [])
    assert flaws(document, "DecideRequest", {**body, "nothing": 1}) != []
