"""A key is rotated at one of two control planes on one database; the other has not the new key's file."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import aiohttp
import pytest
from aisecops_client import AsyncClient
from aisecops_client.errors import AisecopsClientError
from aisecops_server.domain.errors import ContendedError, IntegrityError, SigningKeyMissingError
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.usecases.evidence.export_evidence import EvidenceRequest
from aisecops_server.usecases.log.rotate_key import RotatedKey
from aisecops_verify import Trust, verify
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.api.real import running, settings_in
from tests.integration.grants.test_key_rotation_live import granted, plan, redeem
from tests.integration.shared.test_control_planes import replica
from tests.integration.test_evidence import AUDITOR, decide
from tests.scenes.planes.engines import until
from tests.scenes.servers.postgres_servers import PostgresServer

pytestmark = pytest.mark.timeout(280)


def test_a_control_plane_without_the_new_key_signs_nothing_until_it_is_copied_in(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    told = f"unix:{tmp_path}/m"
    settings = settings_in(tmp_path).model_copy(update={"database_url": postgres.url(postgres.database())})

    async def together() -> None:
        async with running(settings) as (one, asking):
            await one.policy.sync()
            other = replica(settings, tmp_path).model_copy(update={"metrics_address": told})
            async with running(other) as (two, asking_too):
                await two.policy.sync()
                before = [await granted(client) for client in (asking, asking_too)]
                await one.grant_keys(principal="dana@corp.example", reason="yearly")
                await until(lambda: "grants.1.pem is missing" in two.grant_keys.keys.ring.problem)
                await require_signed_by_one_alone(asking, asking_too)
                assert await key_missing(told) == 1
                # What signs no more is gone here as well, with or without the key that came after it.
                await until(lambda: not (other.state_dir / "keys" / "grants.pem").exists())
                assert (await asking_too.grant_key_state()).problem
                assert await asking_too.grant_keys() == await asking.grant_keys() == one.grants.key_set()
                # What was granted is used up anywhere, by whichever key it was signed.
                for token in (*before, await granted(asking)):
                    await redeem(asking_too, token)
                shutil.copyfile(settings.state_dir / "keys" / "grants.1.pem", tmp_path / "copied")
                (tmp_path / "copied").chmod(0o600)
                (tmp_path / "copied").rename(other.state_dir / "keys" / "grants.1.pem")
                await until(lambda: not two.grant_keys.keys.ring.problem)
                await redeem(asking, await granted(asking_too))
                assert await key_missing(told) == 0
                # And the other way round: who had the file first is not asked who rotates next.
                await two.grant_keys(principal="dana@corp.example", reason="again")
                await until(lambda: "grants.2.pem is missing" in one.grant_keys.keys.ring.problem)
                assert (await one.log.verify()).problem == ""
        with pytest.raises(IntegrityError, match=r"grants\.2\.pem is missing"):
            async with running(settings):
                pass

    asyncio.run(together())


def test_the_key_of_evidence_packages_is_rotated_at_one_and_followed_by_all(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path).model_copy(update={"database_url": postgres.url(postgres.database())})

    async def together() -> None:
        async with running(settings) as (one, asking):
            await one.policy.sync()
            other = replica(settings, tmp_path)
            async with running(other) as (two, _):
                await two.policy.sync()
                request = EvidenceRequest([await decide(asking)])
                keys, keys_too = one.signing_keys[KeyUse.EVIDENCE], two.signing_keys[KeyUse.EVIDENCE]
                first = await two.export(request, principal=AUDITOR)
                # Two at once: one after the other, or one is told to look again; never two of one number.
                made = await asyncio.gather(
                    *(rotate(principal="dana@corp.example", reason="both") for rotate in (keys, keys_too)),
                    return_exceptions=True,
                )
                await until(lambda: keys.keys.chain.number == keys_too.keys.chain.number > 0)
                numbers = [result.number for result in made if isinstance(result, RotatedKey)]
                assert len(set(numbers)) == len(numbers) == keys.keys.chain.number
                refused = [result for result in made if isinstance(result, BaseException)]
                assert all(isinstance(result, ContendedError | SigningKeyMissingError) for result in refused)
                [with_key] = [
                    plane for plane in (one, two) if not plane.signing_keys[KeyUse.EVIDENCE].keys.ring.problem
                ]
                [without] = [plane for plane in (one, two) if plane is not with_key]
                # Its file is missing, or is the one that it had prepared itself.
                with pytest.raises(SigningKeyMissingError, match=r"evidence\.\d\.pem is (missing|not the key)"):
                    await without.export(request, principal=AUDITOR)
                name = f"evidence.{keys.keys.chain.number}.pem"
                shutil.copyfile(with_key.settings.state_dir / "keys" / name, tmp_path / "copied")
                (tmp_path / "copied").chmod(0o600)
                (tmp_path / "copied").rename(without.settings.state_dir / "keys" / name)
                await until(lambda: not without.signing_keys[KeyUse.EVIDENCE].keys.ring.problem)
                for plane in (one, two):
                    package = await plane.export(request, principal=AUDITOR)
                    trust = Trust(plane.publish.keys.public.text(), first.key.hex())
                    assert verify(package.content, trust).checks

    asyncio.run(together())


async def key_missing(address: str) -> float:
    connector = aiohttp.UnixConnector(address.removeprefix("unix:"))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://m/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        [value] = [s.value for family in families for s in family.samples if s.name == "aisecops_grant_key_missing"]
    return float(value)


async def require_signed_by_one_alone(asking: AsyncClient, asking_too: AsyncClient) -> None:
    await granted(asking)
    with pytest.raises(AisecopsClientError, match="no grant can be signed here") as raised:
        await asking_too.decide(plan(), idempotency_key="the-same-key-again")
    assert raised.value.reason == "GRANT_KEY_MISSING"
    # The decision is made and stands; who asks where the key is gets its grants.
    answer = await asking.decide(plan(), idempotency_key="the-same-key-again")
    assert len(answer.grants) == 1
