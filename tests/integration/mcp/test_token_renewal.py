"""A token that the control plane does not take any more is renewed once, and what counts is what came of that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from aisecops.v1 import agent_service_pb2, agent_service_pb2_grpc
from aisecops_client import AccessRefusedError
from aisecops_client.aio import AsyncClient
from aisecops_mcp.governor import Governor

pytestmark = pytest.mark.asyncio


class Takes(agent_service_pb2_grpc.AgentServiceServicer):
    """Answers whoever shows the one token that counts."""

    async def ListTools(  # noqa: N802 - the name of the RPC
        self, request: agent_service_pb2.ListToolsRequest, context: grpc.aio.ServicerContext
    ) -> agent_service_pb2.ListToolsResponse:
        """Refuse every other token."""
        if ("authorization", "Bearer new") not in (context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token has expired")
        return agent_service_pb2.ListToolsResponse()


@asynccontextmanager
async def governed(root: Path, renew: Callable[[], str]) -> AsyncIterator[Governor]:
    server = grpc.aio.server()
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(Takes(), server)
    server.add_insecure_port(f"unix:{root}/plane.sock")
    await server.start()
    try:
        async with AsyncClient.connect(f"unix:{root}/plane.sock", token="old") as client:
            yield Governor(client, environment="production", renew=renew)
    finally:
        await server.stop(None)


async def test_a_new_token_is_shown_from_then_on(tmp_path: Path) -> None:
    given: list[str] = []

    def renew() -> str:
        given.append("new")
        return "new"

    async with governed(tmp_path, renew) as governor:
        await governor.tools("desk")
        await governor.tools("desk")
    assert given == ["new"]


@pytest.mark.parametrize("given", ["", "old"])
async def test_without_another_one_the_refusal_stands(tmp_path: Path, given: str) -> None:
    async with governed(tmp_path, lambda: given) as governor:
        with pytest.raises(AccessRefusedError, match="expired"):
            await governor.tools("desk")


@pytest.mark.parametrize(
    "trouble", [OSError("no such file"), ValueError("no token"), RuntimeError("the issuer is away")]
)
async def test_what_goes_wrong_with_a_renewal_is_told_as_the_refusal_that_it_is(
    tmp_path: Path, trouble: Exception
) -> None:
    def renew() -> str:
        raise trouble

    async with governed(tmp_path, renew) as governor:
        with pytest.raises(AccessRefusedError, match="expired") as refused:
            await governor.tools("desk")
    assert refused.value.__cause__ is trouble
