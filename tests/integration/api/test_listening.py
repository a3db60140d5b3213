"""Where the API listens, who can reach it, and what it says of itself without a credential."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc
import pytest
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.grpc.server import Listening, TcpListening, serve
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.integration.api.plans import plan
from tests.integration.api.running import running_api, served_by

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.asyncio
async def test_the_socket_is_for_its_owner_only_and_goes_with_the_server() -> None:
    async with running_api() as api:
        path = api.server.socket
        assert path is not None
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()


@pytest.mark.asyncio
async def test_tcp_answers_on_loopback() -> None:
    async with running_api(tcp=True) as api, grpc.aio.insecure_channel(f"127.0.0.1:{api.server.ports[0]}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING


@pytest.mark.asyncio
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "localhost:0", "example.org:0"])
async def test_without_tls_nothing_but_this_machine_is_listened_on(address: str) -> None:
    with pytest.raises(InvalidRequestError, match="not a loopback address") as refused:
        await serve(served_by(Path("/nowhere") / KEY_SET_FILE), Listening(None, (TcpListening(address),)))
    assert "tls_client_ca" in refused.value.hint


@pytest.mark.asyncio
@pytest.mark.parametrize("address", ["unix:/x", "vsock:1:2", "127.0.0.1", ":80", "127.0.0.1:http", "::1:80"])
async def test_a_listener_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(InvalidRequestError, match="host:port"):
        await serve(served_by(Path("/nowhere") / KEY_SET_FILE), Listening(None, (TcpListening(address),)))


@pytest.mark.asyncio
async def test_nothing_to_listen_on_is_said_at_once(tmp_path: Path) -> None:
    served = served_by(tmp_path / KEY_SET_FILE)
    with pytest.raises(InvalidRequestError, match="nothing to listen on"):
        await serve(served, Listening(None))
    with pytest.raises(InvalidRequestError, match="longer than"):
        await serve(served, Listening(tmp_path / ("x" * 120)))


@pytest.mark.asyncio
async def test_a_directory_that_others_may_write_in_gets_no_socket(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(InvalidRequestError, match="others may write"):
        await serve(served_by(tmp_path / KEY_SET_FILE), Listening(shared / "a.sock"))


@pytest.mark.asyncio
async def test_a_second_control_plane_does_not_take_the_socket_and_a_stale_one_is_replaced() -> None:
    async with running_api() as api:
        assert api.server.socket is not None
        served = served_by(api.keys)
        with pytest.raises(InvalidRequestError, match="another control plane"):
            await serve(served, Listening(api.server.socket))
        stale = api.server.socket.parent / "stale.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(stale))
        again = await serve(served, Listening(stale))
        await again.stop(0)


@pytest.mark.asyncio
async def test_health_is_what_a_plan_would_find() -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="aisecops.v1.DecisionService")
        assert (await health.Check(request)).status == SERVING
        watch = health.Watch(request)
        assert (await watch.read()).status == SERVING
        api.problem[0] = "no revision is live"
        assert (await health.Check(request)).status == NOT_SERVING
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health.Check(health_pb2.HealthCheckRequest(service="other.Service"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def reflected(channel: grpc.aio.Channel) -> set[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    return {service.name async for answer in stream for service in answer.list_services_response.service}


@pytest.mark.asyncio
async def test_reflection_is_answered_to_this_machine() -> None:
    async with running_api(tcp=True) as api:
        for address in (api.address, f"127.0.0.1:{api.server.ports[0]}"):
            async with grpc.aio.insecure_channel(address) as channel:
                names = await reflected(channel)
            assert {"aisecops.v1.DecisionService", "aisecops.v1.AuditService", "grpc.health.v1.Health"} <= names


async def state_of(channel: grpc.aio.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)).status)


@pytest.mark.asyncio
async def test_both_listeners_share_what_is_in_flight_and_on_record() -> None:
    async with running_api(tcp=True) as api, api.client() as client:
        assert (await client.decide(plan(), idempotency_key="k")).allowed
        async with grpc.aio.insecure_channel(f"127.0.0.1:{api.server.ports[0]}") as channel:
            over_tcp = type(client)(channel, client.token)
            assert (await over_tcp.decide(plan(), idempotency_key="k")).receipt.replayed
