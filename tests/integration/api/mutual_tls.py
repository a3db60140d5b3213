"""The API over real TLS: a listener that wants client certificates, and one that wants tokens."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from aisecops_client import AsyncClient, tls
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.identity.authorities import open_authorities
from aisecops_server.adapters.identity.callers import CallerAuthenticator
from aisecops_server.adapters.identity.certificates import CertificateAuthenticator, CertificateRules
from aisecops_server.adapters.identity.identities import open_identities
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE, TokenIssuer, local_issuer
from aisecops_server.adapters.identity.key_set import KeySet
from aisecops_server.adapters.identity.local_authority import LocalAuthority, open_authority
from aisecops_server.adapters.identity.tls_files import tls_files
from aisecops_server.adapters.identity.tokens import TokenAuthenticator
from aisecops_server.adapters.identity.trial_folder import Wish, make_trial
from aisecops_server.adapters.identity.watched_file import WatchedFile
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.server import Listening, RunningServer, TcpListening, serve
from aisecops_server.usecases.log.record_refusals import RecordRefusals

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import FakeEngine
from tests.integration.api.running import FakePolicy, served_by
from tests.scenes.servers.certificates import Pair

AGENT = "spiffe://corp.example/agent/support"
ADA = "spiffe://corp.example/person/ada"
PEOPLE = {role.value: [role] for role in Role if role is not Role.AGENT} | {"ada": [Role.SECURITY]}


@dataclass
class TlsApi:
    """A running API and everything behind it. Its clock begins at the real time, because handshakes go by that."""

    server: RunningServer
    folder: Path
    issuer: TokenIssuer
    clock: FakeClock
    log: MemoryEventLog
    engine: FakeEngine
    refusals: RecordRefusals

    @property
    def address(self) -> str:
        return f"localhost:{self.server.ports[0]}"

    @property
    def token_address(self) -> str:
        return f"localhost:{self.server.ports[1]}"

    @property
    def authority(self) -> LocalAuthority:
        return open_authority(self.folder, SystemClock())

    @property
    def signer(self) -> Pair:
        """The authority, for certificates that it should not sign."""
        return Pair(self.authority.certificate, self.authority.key)

    @property
    def now(self) -> float:
        return SystemClock().now_ns() / 1e9

    def credentials(self, holder: str = "agent/support") -> grpc.ChannelCredentials:
        place = self.folder / holder
        return tls(ca=self.folder / "ca.pem", certificate=f"{place}.pem", key=f"{place}.key")

    def credentials_of(self, pair: Pair) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials((self.folder / "ca.pem").read_bytes(), pair.key_pem, pair.pem)

    def client(self, holder: str = "agent/support", token: str = "") -> AsyncClient:
        return AsyncClient.connect(self.address, token, credentials=self.credentials(holder))

    def channel(self, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(self.address, credentials)


def authenticator(folder: Path, clock: FakeClock) -> CallerAuthenticator:
    identities = open_identities(folder / "identities.yaml", read_yaml=parse_yaml, clock=clock)
    keys = KeySet(WatchedFile(folder / "keys" / KEY_SET_FILE, clock))
    certificates = CertificateAuthenticator(
        open_authorities(folder / "ca.pem", clock), identities, clock, CertificateRules("corp.example")
    )
    return CallerAuthenticator(TokenAuthenticator(keys, clock, identities=identities), certificates, identities)


@asynccontextmanager
async def tls_api() -> AsyncIterator[TlsApi]:
    """Serve while the block runs."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        make_trial(folder, Wish("corp.example", ["support"], PEOPLE, ["localhost"], 12), SystemClock())
        clock, log, engine = FakeClock(SystemClock().now_ns()), MemoryEventLog(), FakeEngine()
        issuer = local_issuer(folder / "keys", clock)
        refusals = RecordRefusals(log, clock, RandomIds())
        served = served_by(
            folder / "keys" / KEY_SET_FILE,
            clock=clock,
            log=log,
            engine=engine,
            policy=FakePolicy(),
            authenticator=authenticator(folder, clock),
            refusals=refusals,
        )
        pair = folder / "server.pem", folder / "server.key"
        listeners = (
            TcpListening("127.0.0.1:0", tls_files(*pair, folder / "ca.pem", clock)),
            TcpListening("127.0.0.1:0", tls_files(*pair, None, clock)),
        )
        server = await serve(served, Listening(None, listeners))
        try:
            yield TlsApi(server, folder, issuer, clock, log, engine, refusals)
        finally:
            await server.stop(0)
