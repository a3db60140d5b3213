"""Who calls is who the client certificate names, over real connections; whoever is nobody learns nothing."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable

import grpc
import pytest
from aisecops.v1.decision_service_pb2 import SessionRequest
from aisecops_client import AccessRefusedError, AsyncClient, Client, RetryLaterError, tls
from aisecops_client.messages import bearer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.api.calls import EVERY_CALL, call, reason_of
from tests.integration.api.mutual_tls import ADA, AGENT, TlsApi, tls_api
from tests.integration.api.plans import plan
from tests.scenes.servers.certificates import SERVER, Pair, certificate, uri

SESSION = "/aisecops.v1.DecisionService/Session"
DECIDE = "/aisecops.v1.DecisionService/Decide"


@pytest.mark.asyncio
async def test_the_principal_of_a_decision_is_the_one_that_the_certificate_names() -> None:
    async with tls_api() as api, api.client() as client:
        answer = await client.decide(plan())
        assert answer.allowed
        [document] = [json.loads(document) for document in api.engine.documents]
        assert document["principal"] == {"id": AGENT, "authenticated_by": "certificate"}
        [stored] = api.log.decisions.values()
        leaf = x509.load_pem_x509_certificate((api.folder / "agent/support.pem").read_bytes())
        principal = stored.details["principal"]
        assert principal == {
            "id": AGENT,
            "authenticated_by": "certificate",
            "roles": ["agent"],
            "thumbprint": Pair(leaf, api.authority.key).thumbprint,
        }
        assert answer.decision.principal.thumbprint == principal["thumbprint"]


@pytest.mark.asyncio
async def test_every_role_gets_by_certificate_exactly_what_the_table_gives_it() -> None:
    async with tls_api() as api:
        for role in Role:
            holder = "agent/support" if role is Role.AGENT else f"person/{role.value}"
            async with api.channel(api.credentials(holder)) as channel:
                for name in EVERY_CALL:
                    refused = await code_of(channel, name) is grpc.StatusCode.PERMISSION_DENIED
                    assert refused is (role not in ROLES_OF_CALL[name]), (role, name)


async def code_of(channel: grpc.aio.Channel, name: str) -> grpc.StatusCode:
    try:
        await call(channel, name, b"")
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def other_authority(api: TlsApi) -> Pair:
    return certificate(authority=True, common="AISecOps local authority", now=api.now)


TURNED_AWAY: dict[str, Callable[[TlsApi], Pair]] = {
    "self-signed": lambda api: certificate(uri(AGENT), now=api.now),
    "another authority": lambda api: certificate(uri(AGENT), of=other_authority(api), now=api.now),
    "expired": lambda api: certificate(uri(AGENT), of=api.signer, begins=-7200, ends=-3600, now=api.now),
    "not yet": lambda api: certificate(uri(AGENT), of=api.signer, begins=1800, now=api.now),
    "a server's": lambda api: certificate(uri(AGENT), of=api.signer, usage=(SERVER,), now=api.now),
}
NOBODY: dict[str, Callable[[TlsApi], Pair]] = {
    "two names": lambda api: certificate(uri(AGENT), uri(ADA), of=api.signer, now=api.now),
    "no name": lambda api: certificate(of=api.signer, now=api.now),
    "a host name": lambda api: certificate(x509.DNSName("localhost"), of=api.signer, now=api.now),
    "another trust domain": lambda api: certificate(
        uri("spiffe://evil.example/agent/support"), of=api.signer, now=api.now
    ),
    "any trust domain": lambda api: certificate(uri("spiffe://*/agent/support"), of=api.signer, now=api.now),
    "a year": lambda api: certificate(uri(AGENT), of=api.signer, ends=365 * 86_400, now=api.now),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", TURNED_AWAY)
async def test_a_certificate_that_nobody_vouches_for_does_not_get_a_connection(kind: str) -> None:
    async with tls_api() as api, api.channel(api.credentials_of(TURNED_AWAY[kind](api))) as channel:
        # Not even what needs no credential is answered.
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (api.log.stored, api.engine.documents) == ([], [])


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", NOBODY)
async def test_a_certificate_that_names_no_principal_is_nobody(kind: str) -> None:
    async with tls_api() as api, api.channel(api.credentials_of(NOBODY[kind](api))) as channel:
        for name in EVERY_CALL:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, name, b"\xff")
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert reason_of(refused.value) == "UNAUTHENTICATED"
        assert api.engine.documents == []
        assert api.log.decisions == {}


@pytest.mark.asyncio
async def test_without_a_certificate_or_in_plain_text_nothing_is_answered() -> None:
    async with tls_api() as api:
        bare = grpc.ssl_channel_credentials((api.folder / "ca.pem").read_bytes())
        address = f"127.0.0.1:{api.server.ports[0]}"
        metadata = bearer(api.issuer.mint(AGENT, [Role.AGENT]))
        for channel in (api.channel(bare), grpc.aio.insecure_channel(address)):
            async with channel:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(channel, DECIDE, b"", metadata, seconds=10)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (api.log.stored, api.engine.documents) == ([], [])


@pytest.mark.asyncio
async def test_an_id_that_is_claimed_in_metadata_changes_nothing() -> None:
    async with tls_api() as api, api.channel(api.credentials()) as channel:
        claims = [("x-agent-id", ADA), ("x-forwarded-client-cert", f"URI={ADA}"), ("peer_spiffe_id", ADA)]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, "/aisecops.v1.BundleService/Sync", b"", claims)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.asyncio
async def test_the_token_of_somebody_else_beside_the_certificate_is_refused() -> None:
    async with tls_api() as api:
        async with api.client(token=api.issuer.mint(ADA, [Role.SECURITY])) as client:
            with pytest.raises(AccessRefusedError, match="somebody else"):
                await client.decide(plan())
        async with api.client(token=api.issuer.mint(AGENT, [Role.AGENT])) as client:
            assert (await client.decide(plan())).decision.principal.authenticated_by == "certificate"
        assert len(api.engine.documents) == 1


@pytest.mark.asyncio
async def test_the_other_listener_is_for_tokens_and_they_are_needed_there() -> None:
    async with tls_api() as api:
        ca = tls(ca=api.folder / "ca.pem")
        async with AsyncClient.connect(api.token_address, api.issuer.mint(AGENT, [Role.AGENT]), credentials=ca) as good:
            assert (await good.decide(plan())).decision.principal.authenticated_by == "token"
        for credentials in (ca, api.credentials()):
            # A certificate is not asked for there, so it proves nothing.
            async with AsyncClient.connect(api.token_address, credentials=credentials) as bare:
                with pytest.raises(AccessRefusedError, match="no credential"):
                    await bare.decide(plan())


def withdraw(api: TlsApi) -> None:
    path = api.folder / "identities.yaml"
    path.write_text(path.read_text().replace("withdrawn: []", f"withdrawn: [{AGENT}]"))


def replace_authority(api: TlsApi) -> None:
    (api.folder / "ca.pem").write_bytes(other_authority(api).pem)


ENDS: dict[str, tuple[float, Callable[[TlsApi], None]]] = {
    "the certificate expires": (12 * 3600, lambda _: None),
    "it is withdrawn": (1, withdraw),
    "its authority is replaced": (1, replace_authority),
    "the clock goes back": (-3600, lambda _: None),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ENDS)
async def test_a_session_does_not_outlive_what_opened_it(end: str) -> None:
    seconds, happens = ENDS[end]
    async with tls_api() as api, api.channel(api.credentials()) as channel:
        session = channel.stream_stream(SESSION)()
        message = SessionRequest(correlation_id="1", plan=plan()).SerializeToString()
        await session.write(message)
        assert await session.read() is not grpc.aio.EOF
        happens(api)
        api.clock.at_ns += int(seconds * 1e9)
        api.clock.elapsed_ns += 1_000_000_000
        await session.write(message)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await session.read()
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        # Nor does the connection: what is called on it next is refused as well.
        with pytest.raises(grpc.aio.AioRpcError) as again:
            await call(channel, DECIDE, b"")
        assert again.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert len(api.engine.documents) == 1


@pytest.mark.asyncio
async def test_a_stream_ends_when_its_reader_loses_the_role() -> None:
    async with tls_api() as api, api.client() as agent, api.client("person/auditor") as auditor:
        await agent.decide(plan())
        events = auditor.events(follow=True)
        # The last one is that it is read.
        while (await anext(events)).type != "evidence.read":
            continue
        path = api.folder / "identities.yaml"
        path.write_text(path.read_text().replace("- auditor", "- app"))
        api.clock.advance(1)
        await agent.decide(plan())
        with pytest.raises(AccessRefusedError):
            await anext(events)


@pytest.mark.asyncio
async def test_a_renewed_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() -> None:
    async with tls_api() as api:
        first = await shown_certificate(api)
        api.authority.issue_server(["localhost"], hours=1)
        api.clock.advance(1)
        second = await shown_certificate(api)
        assert second != first
        expired = certificate(x509.DNSName("localhost"), of=api.signer, begins=-7200, ends=-60, now=api.now)
        expired.write(api.folder / "server.pem", api.folder / "server.key")
        api.clock.advance(1)
        assert await shown_certificate(api) == second
        (api.folder / "server.key").write_bytes(certificate(now=api.now).key_pem)
        api.clock.advance(1)
        assert await shown_certificate(api) == second
        (api.folder / "server.pem").unlink()
        api.clock.advance(1)
        assert await shown_certificate(api) == second
        api.authority.issue_server(["localhost"], hours=1)
        api.clock.advance(1)
        assert await shown_certificate(api) not in (first, second)


async def shown_certificate(api: TlsApi) -> bytes:
    """Return the certificate that a new connection is shown, once it has carried a decision."""
    async with api.client() as client:
        assert (await client.decide(plan())).allowed
    return handshake(api, ssl.TLSVersion.TLSv1_3)[0]


def handshake(api: TlsApi, version: ssl.TLSVersion) -> tuple[bytes, str]:
    context = ssl.create_default_context(cafile=str(api.folder / "ca.pem"))
    context.load_cert_chain(api.folder / "agent/support.pem", api.folder / "agent/support.key")
    context.set_alpn_protocols(["h2"])
    # An old client: it offers what was good enough then.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", api.server.ports[0]), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b"", wrapped.version() or ""


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_nothing_older_than_tls_1_2_is_spoken() -> None:
    async with tls_api() as api:
        assert handshake(api, ssl.TLSVersion.TLSv1_3)[1] == "TLSv1.3"
        assert handshake(api, ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"
        for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                handshake(api, version)


@pytest.mark.asyncio
async def test_a_client_refuses_a_server_that_its_authority_does_not_vouch_for() -> None:
    async with tls_api() as api:
        (api.folder / "other.pem").write_bytes(other_authority(api).certificate.public_bytes(Encoding.PEM))
        wrong = tls(
            ca=api.folder / "other.pem",
            certificate=api.folder / "agent/support.pem",
            key=api.folder / "agent/support.key",
        )
        async with AsyncClient.connect(api.address, credentials=wrong) as client:
            with pytest.raises(RetryLaterError):
                await client.decide(plan())
        assert api.engine.documents == []


@pytest.mark.asyncio
async def test_what_the_api_offers_is_told_to_this_machine_only() -> None:
    async with tls_api() as api, api.channel(api.credentials()) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "address", ["192.0.2.1:8443", "control.example:443", "dns:///control.example:443", "[2001:db8::1]:1"]
)
def test_no_token_leaves_this_machine_in_plain_text(address: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match="not on this machine"):
            kind.connect(address, "token")


def test_a_certificate_without_its_key_is_told_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="belong together"):
        tls(certificate="agent.pem")
