"""The other ways in: what a Git host rings for, the pages, the metrics, and who is turned away before any of them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from pathlib import Path

import aiohttp
import pytest
from aisecops_client import NotFoundError
from aisecops_server.bootstrap.web import web
from aisecops_server.domain.callers.identity import Role

from tests.scenes.planes.tenants import BANK, SHOP, House, house_in, open_house, refund
from tests.scenes.servers.openid_provider import Person, with_provider
from tests.scenes.servers.scripted_provider import scripted_provider

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

SECRETS = {SHOP: b"the secret of the shop's host", BANK: b"the secret of the bank's host"}


def ringing_house(root: Path) -> House:
    entries = {}
    for tenant, secret in SECRETS.items():
        file = root / f"{tenant}.secret"
        file.write_bytes(secret)
        file.chmod(0o600)
        entries[tenant] = f"trigger_secret_file: {file}"
    return house_in(root, entries=entries, trigger_address=f"unix:{root}/hook.sock")


async def ring(root: Path, path: str, secret: bytes, body: bytes = b"{}") -> tuple[int, str]:
    headers = {"X-Hub-Signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()}
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=f"{root}/hook.sock")) as session,
        session.post(f"http://localhost{path}", data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def until_live(house: House, tenant: str, commit: str) -> None:
    async with asyncio.timeout(120):
        while True:
            if house.live(tenant) == commit:
                return
            await asyncio.sleep(0.02)


async def test_a_host_rings_for_its_own_tenant_and_for_no_other(tmp_path: Path) -> None:
    async with open_house(ringing_house(tmp_path)) as house:
        before = {tenant: house.live(tenant) for tenant in (SHOP, BANK)}
        fresh = {
            tenant: house.remotes[tenant].commit({"data/modes.yaml": b"# 2\ndefault: enforce\nagents: {}\nrules: {}\n"})
            for tenant in (SHOP, BANK)
        }
        wrong = await ring(tmp_path, f"/hooks/git/{BANK}", SECRETS[SHOP])
        assert wrong == await ring(tmp_path, "/hooks/git/nowhere", SECRETS[SHOP]) == (401, "signature\n")
        assert wrong == await ring(tmp_path, "/hooks/git", SECRETS[SHOP])
        assert (await ring(tmp_path, f"/hooks/git/{SHOP}", SECRETS[SHOP]))[0] == 202
        await until_live(house, SHOP, fresh[SHOP])
        assert house.live(BANK) == before[BANK]


async def test_the_pages_are_those_of_the_tenant_who_signs_in(tmp_path: Path) -> None:
    async with open_house(house_in(tmp_path, ui_address="127.0.0.1:0")) as house:
        async with house.client(of=SHOP) as client:
            trace = (await client.decide(refund("a till of the shop"))).decision.trace_id
        assert house.server is not None
        async with (
            web(house.settings, house.planes, house.server) as address,
            aiohttp.ClientSession(f"http://{address}") as session,
        ):

            async def page(path: str, tenants: tuple[str, ...], tenant: str = "") -> tuple[int, str]:
                token = house.token(Role.AUDITOR, subject="a@corp.example", tenants=tenants)
                headers = {"Authorization": f"Bearer {token}", **({"aisecops-tenant": tenant} if tenant else {})}
                async with session.get(path, headers=headers) as answer:
                    return answer.status, await answer.text()

            for tenants, named in (((SHOP,), ""), ((SHOP, BANK), SHOP)):
                status, text = await page(f"/traces/{trace}", tenants, named)
                assert (status, "a till of the shop" in text, f">{SHOP}</span>" in text) == (200, True, True)
            assert (await page(f"/traces/{trace}", (BANK,)))[0] == 404
            for path in ("/traces", "/revisions", "/agents", "/metrics", "/system", "/rollouts", "/evidence", "/"):
                status, text = await page(path, (BANK,))
                assert (status, trace in text, house.live(SHOP)[:8] in text) == (200, False, False), path
                assert f">{BANK}</span>" in text
            assert (await page("/traces", (BANK,), SHOP))[0] == 404


async def test_who_signs_in_with_the_provider_is_of_the_tenants_that_their_token_names(tmp_path: Path) -> None:
    with scripted_provider() as provider:
        settings = with_provider(provider.issuer, ui_address="127.0.0.1:0")
        async with (
            open_house(house_in(tmp_path, **settings)) as house,
            web(house.settings, house.planes, house.server) as address,
        ):

            def signed_in(tenant: str, *of: str) -> tuple[int, str]:
                person = Person()
                provider.claims = {"tenant": list(of)}
                asked = person.begin(f"http://{address}", tenant=tenant).parameters
                provider.nonce = asked["nonce"]
                hop = person.ask("GET", f"http://{address}/sign-in/callback?code=a&state={asked['state']}")
                return hop.status, person.ask("GET", f"http://{address}/traces").text + hop.text

            for tenant, of in (("", (BANK,)), (BANK, (SHOP, BANK))):
                status, text = await asyncio.to_thread(signed_in, tenant, *of)
                assert (status, f">{BANK}</span>" in text, f">{SHOP}</span>" in text) == (200, True, False)
            status, text = await asyncio.to_thread(signed_in, "", SHOP, BANK)
            assert (status, "Name the one that is meant" in text) == (400, True)
            for tenant, of in ((SHOP, (BANK,)), ("", ("nowhere",)), ("", ())):
                status, text = await asyncio.to_thread(signed_in, tenant, *of)
                assert (status, f">{BANK}</span>" in text, f">{SHOP}</span>" in text) in (
                    (404, False, False),
                    (403, False, False),
                )


async def test_metrics_tell_tenants_apart(tmp_path: Path) -> None:
    socket = tmp_path / "m.sock"
    async with open_house(house_in(tmp_path, metrics_address=f"unix:{socket}")) as house:
        sizes = {tenant: (await plane.log.head()).size for tenant, plane in house.planes.items()}
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket))) as session,
            session.get("http://localhost/metrics") as answer,
        ):
            text = await answer.text()
    for tenant, size in sizes.items():
        assert f'aisecops_log_events{{tenant="{tenant}"}} {float(size)}' in text
    assert text.count("# TYPE aisecops_log_events ") == 1


async def test_who_is_of_no_tenant_is_told_of_in_a_line_and_in_nobodys_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with open_house(house_in(tmp_path)) as house:
            async with house.client(Role.AUDITOR, subject="eve@corp.example", of="nowhere") as client:
                with pytest.raises(NotFoundError):
                    await client.bundle_status()
            kinds = {
                stored.event.type
                for plane in house.planes.values()
                async for stored in plane.log.events(from_index=0, follow=False, trace_id="")
            }
    assert "identity.refused" not in kinds
    [line] = [record.getMessage() for record in caplog.records if "turned away at the door" in record.getMessage()]
    assert "eve@corp.example" in line
