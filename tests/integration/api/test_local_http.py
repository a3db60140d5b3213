"""The API as JSON over HTTP on a Unix socket: the same gate, the same answers, and nothing that the wire lacks."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import AGENT, running, settings_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
DECIDE = "aisecops.v1.DecisionService/Decide"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("http"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(settings: Settings) -> AsyncIterator[Path]:
    async with running(settings):
        yield settings.socket.with_suffix(".http")


@asynccontextmanager
async def posted(socket: Path, call: str, body: Any, *headers: str) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = [("Authorization", value) for value in headers]
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        session.post(f"http://localhost/{call}", data=data, headers=sent) as answer,
    ):
        yield answer.status, json.loads(await answer.text() or "{}") if answer.content_type.endswith("json") else {}


def plan(ticket: str = "T-1") -> dict[str, Any]:
    arguments = base64.b64encode(json.dumps({"ticket_id": ticket}).encode()).decode()
    step = {"stepId": "s", "tool": "tickets/read", "argumentsJson": arguments}
    prompt = {"sourceId": "p", "kind": "SOURCE_KIND_USER_PROMPT", "content": base64.b64encode(b"Read T-1").decode()}
    return {"plan": {"environment": "production", "sources": [prompt], "steps": [step]}}


def bearer(settings: Settings, *roles: Role) -> str:
    return f"Bearer {issuer(settings).mint(AGENT, roles or (Role.AGENT,))}"


async def test_a_plan_is_decided_as_over_grpc(settings: Settings, served: Path) -> None:
    async with posted(served, DECIDE, plan(), bearer(settings)) as (status, answer):
        assert (status, answer["decision"]["outcome"]) == (200, "OUTCOME_ALLOW")
        assert answer["receipt"]["eventId"]
        assert answer["grants"][0]["tool"] == "tickets/read"


async def test_who_may_not_is_turned_away_by_the_same_gate(settings: Settings, served: Path) -> None:
    token = bearer(settings)
    for headers in ((), ("Bearer nonsense",), (token, token), ("Basic YTpi",), (token.replace("Bearer", "Token"),)):
        async with posted(served, DECIDE, plan(), *headers) as (status, answer):
            assert (status, answer["reason"]) == (401, "UNAUTHENTICATED"), headers
    async with posted(served, "aisecops.v1.ApprovalService/Vote", {"approvalId": "apr-1"}, token) as (status, answer):
        assert (status, answer["reason"]) == (403, "NOT_PERMITTED")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("aisecops.v1.DecisionService/Nothing", "NOT_FOUND"),
        ("aisecops.v1.Nothing/Decide", "NOT_FOUND"),
        ("aisecops.v1.DecisionService/Session", "NOT_FOUND"),
        ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "NOT_FOUND"),
        ("grpc.health.v1.Health/Check", "NOT_FOUND"),
    ],
)
async def test_there_is_no_call_that_the_api_lacks(settings: Settings, served: Path, call: str, reason: str) -> None:
    async with posted(served, call, {}, bearer(settings)) as (status, answer):
        assert (status, answer["reason"]) == (404, reason)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"plan": {"steps": 1}}',
        b'{"plan": {}, "plan": {}}',
        b'{"plan": {"nothing": 1}}',
        b'{"plan": {"steps": [{"argumentsJson": "***"}]}}',
        b'{"a":' * 5000,
        b"{}",
        b" " * 7_000_000,
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_what_cannot_be_read_is_refused(settings: Settings, served: Path, body: bytes) -> None:
    async with posted(served, DECIDE, body, bearer(settings)) as (status, answer):
        assert (status, answer["reason"] in ("INVALID_REQUEST", "INVALID_PLAN")) == (400, True)


async def test_the_socket_is_for_its_owner(served: Path) -> None:
    assert os.stat(served).st_mode & 0o777 == 0o600  # noqa: PTH116
