"""Decisions in the agent's own trace: a real control plane and a real receiver."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from aisecops.v1.decision_service_pb2 import DecideRequest, DecideResponse
from aisecops_client.messages import bearer
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role

from tests.integration.api.plans import plan
from tests.integration.api.real import AGENT, settings_in

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "T-4711-and-what-it-is-about"


@pytest.mark.asyncio
async def test_a_decision_is_a_child_of_the_span_that_asked_for_it_and_holds_no_texts(tmp_path: Path) -> None:
    taken: asyncio.Queue[Any] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        assert (request.path, request.content_type) == ("/v1/traces", "application/json")
        await taken.put(await request.json())
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = settings_in(tmp_path).model_copy(update={"otlp_endpoint": f"http://127.0.0.1:{port}"})
    try:
        async with serving(settings) as (_, server), grpc.aio.insecure_channel(f"unix:{server.socket}") as channel:
            request = DecideRequest(plan=plan())
            request.plan.intent = SECRET
            metadata = [*bearer(issuer(settings).mint(AGENT, (Role.AGENT,))), ("traceparent", f"00-{TRACE}-{SPAN}-01")]
            call = channel.unary_unary("/aisecops.v1.DecisionService/Decide")
            answer = DecideResponse.FromString(await call(request.SerializeToString(), metadata=metadata, timeout=60))
            assert answer.decision.trace_id == TRACE
            async with asyncio.timeout(60):
                told = await taken.get()
    finally:
        await runner.cleanup()
    [resource] = told["resourceSpans"]
    assert {"key": "service.name", "value": {"stringValue": "aisecops"}} in resource["resource"]["attributes"]
    [decided, *steps] = told["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (decided["traceId"], decided["parentSpanId"], decided["name"]) == (TRACE, SPAN, "aisecops.decide")
    assert all(step["parentSpanId"] == decided["spanId"] for step in steps)
    assert [step["name"].split(" ")[0] for step in steps] == ["execute_tool"] * len(steps)
    assert SECRET not in json.dumps(told)
    for step in request.plan.steps:
        for value in json.loads(step.arguments_json).values():
            assert str(value) not in json.dumps(told)
