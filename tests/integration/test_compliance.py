"""What holds of the shipped mapping on a control plane of real parts, and what turns a row: one scenario, one name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops.v1 import compliance_service_pb2 as api
from aisecops.v1.compliance_service_pb2_grpc import ComplianceServiceStub
from aisecops.v1.evidence_service_pb2 import ExportEvidenceRequest
from aisecops.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from aisecops_client import AsyncClient
from aisecops_client.errors import AisecopsClientError, from_rpc_error
from aisecops_client.messages import bearer
from aisecops_client.plan import PlanBuilder
from aisecops_server.adapters.git.create import commit_files
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.compliance.compliance_page import markdown
from aisecops_server.domain.log.record import TraceFilter
from aisecops_server.settings import Settings
from aisecops_verify import Trust, read_package, verify
from google.protobuf.json_format import MessageToDict
from grpc import RpcError

from tests.integration.api.real import running, settings_in

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

CASE = "nobody's wish makes a destructive command safe"
RULE = "rego/aisecops/rules/arguments/command_destructive/command_destructive.rego"


class Asked:
    """A running control plane, and how an auditor asks it."""

    def __init__(self, settings: Settings, plane: ControlPlane, client: AsyncClient) -> None:
        self.settings, self.plane, self.client = settings, plane, client

    async def check(self, *, role: Role = Role.AUDITOR, **asked: str) -> api.CheckComplianceResponse:
        token = issuer(self.settings).mint("auditor@corp.example", [role])
        try:
            return await ComplianceServiceStub(self.client.channel).CheckCompliance(
                api.CheckComplianceRequest(**asked), metadata=bearer(token), timeout=60
            )
        except RpcError as error:
            raise from_rpc_error(error) from error

    def commit(self, files: Mapping[str, bytes], message: str) -> str:
        return commit_files(Path(self.settings.repository), files, message=message, at_seconds=1_790_000_100)

    def file(self, path: str) -> str:
        return (Path(self.settings.repository) / path).read_text(encoding="utf-8")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asked]:
    settings = settings_in(tmp_path_factory.mktemp("compliance"))
    async with running(settings) as (plane, client):
        for _ in range(3):
            plan = PlanBuilder(environment="production")
            plan.source("user_prompt", "Please read ticket T-1.")
            plan.step("tickets/read", {"ticket_id": "T-1"})
            await client.decide(plan)
        await plane.publish()
        yield Asked(settings, plane, client)


def rows(answer: api.CheckComplianceResponse) -> dict[str, api.Requirement]:
    return {f"{framework.framework}:{row.id}": row for framework in answer.frameworks for row in framework.requirements}


def failing(answer: api.CheckComplianceResponse) -> dict[str, list[str]]:
    return {name: list(row.problems) for name, row in rows(answer).items() if row.state == "FAILS"}


async def test_everything_that_is_claimed_of_the_shipped_policy_holds(asked: Asked) -> None:
    answer = await asked.check()
    assert failing(answer) == {}
    assert {row.state for row in rows(answer).values()} == {"HOLDS", "NOT_COVERED"}
    live = asked.plane.live.current().bundle
    assert (answer.revision, answer.bundle_digest) == (live.revision, live.digest)
    assert answer.events_read > 10
    logging = rows(answer)["iso-27001-2022:8.15"]
    concluded = next(event for event in logging.events if event.kind == "decision.concluded")
    assert concluded.count == 3
    stored = [
        event async for event in asked.plane.log.events(from_index=concluded.last_index, follow=False, trace_id="")
    ]
    assert stored[0].event.type == "decision.concluded"


async def test_every_scenario_was_decided_by_the_rules_that_it_names(asked: Asked) -> None:
    answer = await asked.check(framework="owasp-llm-2025")
    [shown] = [one for one in rows(answer)["owasp-llm-2025:LLM05"].scenarios if one.name == CASE]
    assert (shown.standing, shown.detail) == ("PASSED", "DENY")
    assert "arguments.command_destructive" in shown.rules


async def test_a_rule_that_no_longer_stops_an_attack_turns_every_row_that_rests_on_it(asked: Asked) -> None:
    before = asked.file(RULE)
    toothless = before.replace(
        "findings contains finding if {", 'findings contains finding if {\n\tinput.mode == "NEVER"', 1
    )
    assert toothless != before
    revision = asked.commit({RULE: toothless.encode()}, "Let everything run")
    try:
        answer = await asked.check(revision=revision)
    finally:
        asked.commit({RULE: before.encode()}, "Put it back")
    turned = failing(answer)
    assert {"owasp-llm-2025:LLM05", "owasp-agentic-2026:ASI05", "eu-ai-act-2024:14(2)", "soc2-tsc-2017:CC6.8"} <= set(
        turned
    )
    assert any(CASE in problem for problem in turned["owasp-llm-2025:LLM05"])
    assert "owasp-llm-2025:LLM01" not in turned


async def test_a_mapping_that_points_at_what_is_not_there_fails_and_names_it(asked: Asked) -> None:
    path = "compliance/soc2-tsc-2017.yaml"
    before = asked.file(path)
    edited = before.replace("rules: [identity.agent_unregistered]", "rules: [identity.agent_forgotten]").replace(
        "events: [bundle.activated]", "events: [bundle.dreamt]", 1
    )
    revision = asked.commit({path: edited.encode()}, "Map what is not there")
    try:
        answer = await asked.check(revision=revision, framework="soc2-tsc-2017")
    finally:
        asked.commit({path: before.encode()}, "Put it back")
    problems = failing(answer)["soc2-tsc-2017:CC6.2"]
    assert problems == ["the revision has no rule identity.agent_forgotten", "no event is of the kind bundle.dreamt"]


@pytest.mark.parametrize(
    ("asking", "said"),
    [
        ({"framework": "no-such"}, "no framework no-such"),
        ({"revision": "no-such-branch"}, "no-such-branch"),
        ({"framework": "x" * 300}, "too long"),
    ],
)
async def test_what_is_not_there_is_said(asked: Asked, asking: dict[str, str], said: str) -> None:
    with pytest.raises(AisecopsClientError, match=said):
        await asked.check(**asking)


@pytest.mark.parametrize("role", [Role.AGENT, Role.APP, Role.TOOL])
async def test_who_may_not_read_everything_is_refused(asked: Asked, role: Role) -> None:
    with pytest.raises(AisecopsClientError, match="needs the role"):
        await asked.check(role=role)


async def test_a_broken_mapping_is_named_and_stops_no_policy(asked: Asked) -> None:
    path = "compliance/soc2-tsc-2017.yaml"
    before = asked.file(path)
    revision = asked.commit({path: b"framework: soc2-tsc-2017\n"}, "Break the mapping")
    try:
        with pytest.raises(AisecopsClientError, match=path):
            await asked.check(revision=revision)
        assert await asked.plane.policy.sync() is not None
        assert asked.plane.live.current().bundle.revision == revision
    finally:
        asked.commit({path: before.encode()}, "Put it back")
        await asked.plane.policy.sync()


async def test_the_page_says_the_same_as_the_answer(asked: Asked) -> None:
    answer = await asked.check(framework="owasp-agentic-2026")
    report: dict[str, Any] = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    written = markdown(report)
    assert [line.split(" ")[1] for line in written.splitlines() if line.startswith("| ASI")] == [
        f"ASI{number:02d}" for number in range(1, 11)
    ]
    assert answer.revision in written


async def test_a_package_of_evidence_holds_what_each_commit_maps_and_what_of_it_held(asked: Asked) -> None:
    listed = await asked.plane.log.traces(TraceFilter(), page_size=10, page_token="")
    token = issuer(asked.settings).mint("auditor@corp.example", [Role.AUDITOR])
    stub = EvidenceServiceStub(asked.client.channel)
    request = ExportEvidenceRequest(trace_ids=[listed.traces[0].trace_id])
    parts = [part async for part in stub.ExportEvidence(request, metadata=bearer(token))]
    content = b"".join(part.content for part in parts)
    assert verify(content, Trust(parts[-1].summary.log_key, parts[-1].summary.evidence_key)).checks
    files = read_package(content)
    [report] = json.loads(files["compliance.json"])
    assert report["revision"] == listed.traces[0].bundle_revision
    found = {row["id"]: row for framework in report["frameworks"] for row in framework["requirements"]}
    assert found["LLM05"]["state"] == "HOLDS"
    assert found["8.15"]["state"] == "NOT_CHECKED", "what only a running control plane shows is not said to hold"
    assert report["revision"] in files["compliance.html"].decode()


async def test_a_second_case_of_the_same_name_does_not_stand_in_for_one_that_fails(asked: Asked) -> None:
    path = "cases/zz.yaml"
    easy = (
        f"- case: {CASE}\n  agent: support-assistant\n"
        "  text: {direction: prompt, content: Hello.}\n  expect: {outcome: ALLOW}\n"
    )
    revision = asked.commit({path: easy.encode()}, "Say it again, easier")
    try:
        answer = await asked.check(revision=revision, framework="owasp-llm-2025")
    finally:
        asked.commit({path: b"[]\n"}, "Take it back")
    assert failing(answer)["owasp-llm-2025:LLM05"] == [f"{CASE}: the name stands twice"]
