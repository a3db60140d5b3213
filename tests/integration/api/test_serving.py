"""A control plane of real parts that is reached over mutual TLS, and those that do not start."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aisecops_client import AccessRefusedError, AsyncClient, tls
from aisecops_server.adapters.identity.trial_folder import Wish, make_trial
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.settings import Settings

from tests.integration.api.plans import plan
from tests.integration.api.real import settings_in
from tests.scenes.servers.http_server import answer, server
from tests.scenes.servers.identity_provider import ISSUER, Provider


def trial(root: Path) -> dict[str, Any]:
    """Return the settings of a folder that `aisecops dev ca` would make."""
    folder = root / "ca"
    wish = Wish("corp.example", ["support-assistant"], {"ada": [Role.SECURITY]}, ["localhost"], 1)
    make_trial(folder, wish, SystemClock())
    return {
        "listen_address": "127.0.0.1:0",
        "tls_certificate": folder / "server.pem",
        "tls_key": folder / "server.key",
        "tls_client_ca": folder / "ca.pem",
        "trust_domain": "corp.example",
        "identities_file": folder / "identities.yaml",
    }


@pytest.mark.asyncio
async def test_agents_and_people_are_served_by_their_certificates(tmp_path: Path) -> None:
    found = trial(tmp_path)
    settings = Settings(**settings_in(tmp_path).model_dump() | found)
    async with serving(settings) as (_plane, server):
        address = f"localhost:{server.ports[0]}"
        for holder, makes_decisions in (("agent/support-assistant", True), ("person/ada", False)):
            place = tmp_path / "ca" / holder
            credentials = tls(ca=found["tls_client_ca"], certificate=f"{place}.pem", key=f"{place}.key")
            async with AsyncClient.connect(address, credentials=credentials) as client:
                client.timeout_seconds = 60.0
                if makes_decisions:
                    decision = (await client.decide(plan("tickets/read"))).decision
                    assert decision.principal.id == "spiffe://corp.example/agent/support-assistant"
                else:
                    assert (await client.bundle_status()).live.commit


@pytest.mark.asyncio
async def test_people_are_served_by_the_tokens_of_their_identity_provider(tmp_path: Path) -> None:
    provider = Provider(SystemClock())
    provider.publish("first")

    def talk(connection: socket.socket) -> None:
        connection.sendall(answer(provider.fetch()))

    with server(talk) as port:
        found = {"token_keys": f"http://127.0.0.1:{port}/keys", "token_issuer": ISSUER, "token_roles_claim": "groups"}
        settings = Settings(**settings_in(tmp_path).model_dump() | found)
        async with serving(settings) as (plane, running):
            token = provider.token("first", groups=["auditor"])
            async with AsyncClient.connect(f"unix:{running.socket}", token) as client:
                assert (await client.bundle_status()).live.commit
            # Who can read the state directory is nobody here.
            ours = issuer(settings).mint("ada", [Role.AUDITOR])
            async with AsyncClient.connect(f"unix:{running.socket}", ours) as client:
                with pytest.raises(AccessRefusedError):
                    await client.bundle_status()
            events = plane.log.events(from_index=0, follow=True, trace_id="")
            async with aclosing(events), asyncio.timeout(60):
                async for stored in events:
                    if stored.event.type == "identity.refused":
                        break
            assert b'"why":"key"' in stored.event.body


STOPS: dict[str, tuple[dict[str, Any], str]] = {
    "elsewhere without TLS": (
        {"tls_certificate": None, "tls_key": None, "tls_client_ca": None, "listen_address": "0.0.0.0:0"},
        "not a loopback address",
    ),
    "elsewhere with TLS and nobody to authenticate": ({"tls_client_ca": None, "listen_address": "0.0.0.0:0"}, "token"),
    "tokens elsewhere": ({"listen_token_address": "0.0.0.0:0"}, "token"),
    "a certificate without a key": ({"tls_key": None}, "belong together"),
    "authorities without a certificate": ({"tls_key": None, "tls_certificate": None}, "belong together"),
    "no trust domain": ({"trust_domain": ""}, "trust domain"),
    "any trust domain": ({"trust_domain": "*"}, "trust domain"),
    "a key of another certificate": ({"tls_key": Path("ca/person/ada.key")}, "is not that of the certificate"),
    "a key for a certificate": ({"tls_certificate": Path("ca/server.key")}, "no certificate in"),
    "a missing file": ({"tls_key": Path("ca/nowhere.key")}, "cannot be read"),
    "a leaf as authority": ({"tls_client_ca": Path("ca/person/ada.pem")}, "no certificate of an authority"),
    "keys that are not there": ({"token_keys": "nowhere.jwks.json"}, "there is no file"),
    "keys over plain HTTP": ({"token_keys": "http://login.example/keys"}, "may not come from"),
    "keys of a provider of many": ({"token_keys": "https://login.example/keys"}, "sign the tokens of others"),
    "no identities": ({"identities_file": Path("ca/nowhere.yaml")}, "cannot be used"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", STOPS)
async def test_what_would_let_in_nobody_or_anybody_does_not_start_and_says_what_to_do(
    tmp_path: Path, kind: str
) -> None:
    changes, why = STOPS[kind]
    changed = {name: tmp_path / value if isinstance(value, Path) else value for name, value in changes.items()}
    settings = Settings(**settings_in(tmp_path).model_dump() | trial(tmp_path) | changed)
    with pytest.raises(InvalidRequestError, match=why) as refused:
        async with serving(settings):
            pytest.fail("it serves")
    assert refused.value.hint
    assert refused.value.metadata()["field"]
