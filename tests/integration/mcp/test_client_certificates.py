"""Clients over mutual TLS: each is the agent that its certificate names, with a token or without one."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from tests.scenes.mcp.mcp_front import Front, Listening, Wire, front
from tests.scenes.mcp.mcp_scene import DESK_AGENT, scene
from tests.scenes.servers.certificates import SERVER, Pair, certificate, uri

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True)
class Guarded:
    """A proxy that demands certificates of ``authority``, and what a client needs to trust it."""

    front: Front
    folder: Path
    authority: Pair

    @asynccontextmanager
    async def client(self, shown: Pair | None, token: str = "", between: Sequence[Pair] = ()) -> AsyncIterator[Wire]:
        """Give a client that shows a certificate, or none."""
        tls = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if shown is not None:
            shown.write(self.folder / "client.pem", self.folder / "client.key")
            with (self.folder / "client.pem").open("ab") as file:
                file.writelines(part.pem for part in between)
            tls.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connector = aiohttp.TCPConnector(ssl=tls)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
            yield Wire(self.front.url, http)

    def holder(self, name: str = DESK_AGENT, **about: Any) -> Pair:
        return certificate(uri(name), **{"of": self.authority, "now": time.time(), **about})


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("tls")
    authority = certificate(now=time.time(), authority=True, common="authority").write(
        folder / "ca.pem", folder / "ca.key"
    )
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate(here, of=authority, now=time.time(), usage=(SERVER,)).write(folder / "s.pem", folder / "s.key")
    given = ("--tls-cert", str(folder / "s.pem"), "--tls-key", str(folder / "s.key"))
    with contextlib.ExitStack() as stack:
        desk = stack.enter_context(scene())
        options = (*given, "--client-ca", str(folder / "ca.pem"))
        how = Listening(desk, options, environment={"AISECOPS_TRUST_DOMAIN": "corp.example"})
        yield Guarded(stack.enter_context(front(how)), folder, authority)


async def test_a_client_is_the_agent_that_its_certificate_names_and_its_calls_are_on_record(guarded: Guarded) -> None:
    async with guarded.client(guarded.holder()) as wire:
        await wire.begin()
        answer = await wire.call(1, "count", to=2)
        assert answer["result"]["content"][0]["text"] == "counted to 2"
    decided = (await guarded.front.scene.events("decision.concluded"))[-1]
    assert decided["details"]["principal"]["id"] == DESK_AGENT


async def test_another_agents_certificate_finds_no_session_of_this_one(guarded: Guarded) -> None:
    other = guarded.holder(f"{DESK_AGENT}-2")
    async with guarded.client(guarded.holder()) as wire:
        await wire.begin()
        session = wire.session
        # The same agent with its next certificate goes on.
        async with guarded.client(guarded.holder()) as renewed:
            renewed.session, renewed.version = session, wire.version
            assert (await renewed.ask(2, "ping")).json["result"] == {}
        async with guarded.client(other) as thief:
            thief.session, thief.version = session, wire.version
            assert (await thief.ask(3, "ping")).status == 404


def below(above: Pair, **about: Any) -> Pair:
    """Return an authority that another one vouches for."""
    return certificate(**{"of": above, "now": time.time(), "authority": True, "common": "between", **about})


async def test_an_authority_below_comes_with_the_certificate(guarded: Guarded) -> None:
    upper = below(guarded.authority)
    lower = below(upper, common="lower")
    async with guarded.client(guarded.holder(of=lower), between=[lower, upper]) as wire:
        await wire.begin()
        assert (await wire.call(1, "count", to=2))["result"]["content"][0]["text"] == "counted to 2"


@pytest.mark.parametrize("kind", ["left out", "foreign", "over", "no authority"])
async def test_an_authority_below_that_does_not_count_lets_nobody_in(guarded: Guarded, kind: str) -> None:
    stranger = certificate(now=time.time(), authority=True, common="authority")
    between = {
        "left out": below(guarded.authority),
        "foreign": below(stranger),
        "over": below(guarded.authority, begins=-120, ends=-60),
        "no authority": guarded.holder(common="between"),
    }[kind]
    shown = guarded.holder(of=between)
    async with guarded.client(shown, between=[between] if kind != "left out" else []) as wire:
        with pytest.raises(aiohttp.ClientError):
            await wire.ask(1, "ping")


async def test_each_authority_of_the_file_counts_by_itself(tmp_path: Path) -> None:
    now = time.time()
    root = certificate(now=now, authority=True, common="root")
    between = below(root).write(tmp_path / "client-ca.pem", tmp_path / "between.key")
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    root.write(tmp_path / "ca.pem", tmp_path / "ca.key")
    certificate(here, of=root, now=now, usage=(SERVER,)).write(tmp_path / "s.pem", tmp_path / "s.key")
    given = ("--tls-cert", str(tmp_path / "s.pem"), "--tls-key", str(tmp_path / "s.key"))
    options = (*given, "--client-ca", str(tmp_path / "client-ca.pem"))
    with scene() as desk, front(Listening(desk, options, environment={"AISECOPS_TRUST_DOMAIN": "corp.example"})) as at:
        guarded = Guarded(at, tmp_path, between)
        async with guarded.client(guarded.holder()) as wire:
            await wire.begin()
        async with guarded.client(guarded.holder(of=root)) as wire:
            with pytest.raises(aiohttp.ClientError):
                await wire.ask(1, "ping")


@pytest.mark.parametrize("kind", ["none", "foreign", "over", "begins later"])
async def test_without_a_good_certificate_of_the_authority_nobody_gets_in(guarded: Guarded, kind: str) -> None:
    stranger = certificate(now=time.time(), authority=True, common="authority")
    shown = {
        "none": None,
        "foreign": guarded.holder(of=stranger),
        "over": guarded.holder(begins=-600, ends=-60),
        "begins later": guarded.holder(begins=600),
    }[kind]
    async with guarded.client(shown, guarded.front.token()) as wire:
        with pytest.raises(aiohttp.ClientError):
            await wire.ask(1, "initialize", {"protocolVersion": "2025-11-25"})


@pytest.mark.parametrize(
    "name", ["spiffe://other.example/agent/desk", "spiffe://corp.example/person/ada", "https://corp.example/agent/desk"]
)
async def test_a_certificate_that_names_no_agent_of_the_trust_domain_is_refused(guarded: Guarded, name: str) -> None:
    async with guarded.client(guarded.holder(name)) as wire:
        assert (await wire.ask(1, "initialize", {"protocolVersion": "2025-11-25"})).status in (401, 403)


async def test_a_token_beside_a_certificate_names_the_same_agent_or_neither_counts(guarded: Guarded) -> None:
    async with guarded.client(guarded.holder(), guarded.front.token()) as wire:
        await wire.begin()
    for token in (guarded.front.token(f"{DESK_AGENT}-2"), "not-a-token"):
        async with guarded.client(guarded.holder(), token) as wire:
            assert (await wire.ask(1, "initialize", {"protocolVersion": "2025-11-25"})).status == 401
