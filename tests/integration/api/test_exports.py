"""Exports over the wire: who may have what, going on where it was, and refusing another log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aisecops.v1 import export_service_pb2 as api
from aisecops.v1.export_service_pb2_grpc import ExportServiceStub
from aisecops_client import AsyncClient
from aisecops_client.errors import AisecopsClientError, from_rpc_error
from aisecops_client.messages import bearer
from aisecops_client.plan import PlanBuilder
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings
from grpc import RpcError

from tests.integration.api.real import running, settings_in

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

INTENT = "tell nobody what I said"
READERS = (Role.AUDITOR, Role.SECURITY, Role.SECOPS, Role.PLATFORM)


class Exporting:
    """A running control plane with decisions, and how somebody exports from it."""

    def __init__(self, settings: Settings, plane: ControlPlane, client: AsyncClient) -> None:
        self.settings, self.plane, self.client = settings, plane, client

    def token(self, role: Role) -> Any:
        return bearer(issuer(self.settings).mint("siem@corp.example", [role]))

    async def events(self, *, role: Role = Role.AUDITOR, most: int = 0, **asked: Any) -> list[api.ExportEventsResponse]:
        request = api.ExportEventsRequest(**{"format": "ndjson", **asked})
        call = ExportServiceStub(self.client.channel).ExportEvents(request, metadata=self.token(role))
        found: list[api.ExportEventsResponse] = []
        try:
            async for answer in call:
                found.append(answer)
                if len(found) == most:
                    call.cancel()
                    break
        except RpcError as error:
            raise from_rpc_error(error) from error
        return found

    async def traces(self, *ids: str, role: Role = Role.AUDITOR, **asked: Any) -> bytes:
        request = api.ExportTracesRequest(**{"format": "sarif", "trace_ids": ids, **asked})
        call = ExportServiceStub(self.client.channel).ExportTraces(request, metadata=self.token(role))
        try:
            return b"".join([part.content async for part in call])
        except RpcError as error:
            raise from_rpc_error(error) from error

    async def decide(self, tool: str = "shell/run") -> str:
        plan = PlanBuilder(intent=INTENT, environment="production")
        plan.source("user_prompt", INTENT)
        plan.step(tool, {"command": "ls"})
        return (await self.client.decide(plan)).decision.trace_id


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exporting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exporting]:
    settings = settings_in(tmp_path_factory.mktemp("exports"))
    async with running(settings) as (plane, client):
        made = Exporting(settings, plane, client)
        await made.decide()
        yield made


async def test_every_event_comes_once_and_in_order(exporting: Exporting) -> None:
    found = await exporting.events()
    assert [event.log_index for event in found] == list(range(len(found)))
    stored = [event async for event in exporting.plane.log.events(from_index=0, follow=False, trace_id="")]
    assert [event.leaf_hash for event in found] == [event.leaf_hash.hex() for event in stored[: len(found)]]


@pytest.mark.parametrize("role", READERS)
async def test_texts_leave_for_nobody_who_does_not_ask(exporting: Exporting, role: Role) -> None:
    trace = await exporting.decide()
    for form in ("ocsf", "cloudevents", "ndjson"):
        assert INTENT.encode() not in b"".join(
            [event.content for event in await exporting.events(role=role, format=form)]
        )
    for form in ("ocsf", "cloudevents", "ndjson", "otlp", "sarif"):
        assert INTENT.encode() not in await exporting.traces(trace, role=role, format=form)


async def test_texts_leave_for_who_asks_and_may_see_them(exporting: Exporting) -> None:
    trace = await exporting.decide()
    assert INTENT.encode() in await exporting.traces(trace, format="ndjson", with_payload=True)
    whole = await exporting.events(role=Role.SECOPS, with_payload=True)
    assert INTENT.encode() in b"".join([event.content for event in whole])
    with pytest.raises(AisecopsClientError, match="needs the role"):
        await exporting.events(role=Role.PLATFORM, with_payload=True)
    with pytest.raises(AisecopsClientError, match="needs the role"):
        await exporting.traces(trace, role=Role.PLATFORM, with_payload=True)


@pytest.mark.parametrize("role", [Role.AGENT, Role.APP, Role.TOOL])
async def test_who_may_not_read_everything_exports_nothing(exporting: Exporting, role: Role) -> None:
    trace = await exporting.decide()
    with pytest.raises(AisecopsClientError, match="needs the role"):
        await exporting.events(role=role)
    with pytest.raises(AisecopsClientError, match="needs the role"):
        await exporting.traces(trace, role=role)


async def test_an_export_goes_on_where_it_was_and_follows(exporting: Exporting) -> None:
    first = await exporting.events(most=3)
    last = first[-1]
    waiting = asyncio.create_task(
        exporting.events(from_index=last.log_index + 1, after_leaf_hash=last.leaf_hash, follow=True, most=40)
    )
    for _ in range(6):
        await exporting.decide()
    rest = await waiting
    assert [event.log_index for event in [*first, *rest]] == list(range(43))


async def test_another_log_is_refused_and_not_gone_on_with(exporting: Exporting) -> None:
    first = await exporting.events(most=3)
    for asked in (
        {"from_index": 3, "after_leaf_hash": "0" * 64},
        {"from_index": 2, "after_leaf_hash": first[-1].leaf_hash},
        {"from_index": 10**9, "after_leaf_hash": first[-1].leaf_hash},
        {"from_index": 0, "after_leaf_hash": first[-1].leaf_hash},
    ):
        with pytest.raises(AisecopsClientError, match="another event"):
            await exporting.events(**asked)


async def test_what_happened_before_a_time_is_left_out(exporting: Exporting) -> None:
    trace = await exporting.decide()
    [first, *_] = [event for event in await exporting.events() if json.loads(event.content)["trace_id"] == trace]
    stored = [
        event async for event in exporting.plane.log.events(from_index=first.log_index, follow=False, trace_id="")
    ]
    request = api.ExportEventsRequest()
    request.since.FromNanoseconds(stored[0].event.occurred_at_ns)
    since = await exporting.events(since=request.since)
    assert since[0].log_index <= first.log_index
    assert since[-1].log_index == (await exporting.events())[-1].log_index
    request.since.FromNanoseconds(stored[0].event.occurred_at_ns + 10**18)
    assert await exporting.events(since=request.since) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"format": "csv"}, "format"),
        ({"format": "sarif"}, "whole traces"),
        ({"from_index": -1}, "from_index"),
        ({"after_leaf_hash": "not a hash"}, "after_leaf_hash"),
    ],
)
async def test_what_cannot_be_exported_is_said(exporting: Exporting, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(AisecopsClientError, match=said):
        await exporting.events(**asked)


@pytest.mark.parametrize(("ids", "said"), [((), "0 traces"), (("f" * 32,), "f" * 32), (("not-an-id",), "trace_id")])
async def test_traces_that_are_not_there_are_named(exporting: Exporting, ids: tuple[str, ...], said: str) -> None:
    with pytest.raises(AisecopsClientError, match=said):
        await exporting.traces(*ids)
