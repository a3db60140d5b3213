"""Two replicas of a house of two tenants on one database: each tenant has one log, whoever of them is asked."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aisecops_client import NotFoundError, PlanBuilder
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.usecases.bundles.activate import Order

from tests.scenes.planes.tenants import BANK, SHOP, House, house_in, house_on, open_house, refund
from tests.scenes.servers.postgres_servers import PostgresServer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

_SESSIONS = """
    SELECT DISTINCT usename::text FROM pg_stat_activity
    WHERE application_name = 'aisecops' AND datname = current_database() ORDER BY 1"""
_MARKED = """
    SELECT (SELECT count(*) FROM aisecops_tenant_{0}.payload WHERE position('{1}'::bytea IN bytes) > 0),
        (SELECT count(*) FROM aisecops_tenant_{0}.document WHERE position('{1}'::bytea IN bytes) > 0)"""
MARK = {SHOP: "crown-jewels-of-the-shop", BANK: "vault-of-the-bank"}


def replica(house: House, root: Path) -> House:
    """Return another control plane on the same database, with the same keys."""
    state, there = root / "other", house.settings.state_dir
    for keys in there.rglob("keys"):
        shutil.copytree(keys, state / keys.relative_to(there))
    return dataclasses.replace(house, settings=house.settings.model_copy(update={"state_dir": state}))


def asked(tenant: str, number: int) -> PlanBuilder:
    return refund(f"Refund order o-77 of customer c-12 with 50 EUR, {MARK[tenant]}, number {number}")


async def decided(house: House, tenant: str, number: int) -> str:
    async with house.client(of=tenant) as client:
        return (await client.decide(asked(tenant, number))).decision.trace_id


async def everything(house: House, tenant: str) -> list[Any]:
    events = house.planes[tenant].log.events(from_index=0, follow=False, trace_id="")
    return [event async for event in events]


async def test_replicas_share_each_tenants_log_and_no_tenant_sees_anothers(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    one = await asyncio.to_thread(house_on, postgres, tmp_path)
    async with open_house(one):
        two = await asyncio.to_thread(replica, one, tmp_path)
        async with open_house(two):
            turns = [(house, tenant, number) for number in range(4) for tenant in MARK for house in (one, two)]
            traces = await asyncio.gather(*(decided(*turn) for turn in turns))
            of: Mapping[str, set[str]] = {
                tenant: {trace for trace, turn in zip(traces, turns, strict=True) if turn[1] == tenant}
                for tenant in MARK
            }
            database = postgres_database(one)
            for tenant, other in ((SHOP, BANK), (BANK, SHOP)):
                here, there = await everything(one, tenant), await everything(two, tenant)
                assert [event.index for event in here] == list(range(len(here)))
                assert here == there[: len(here)]
                found = await asyncio.to_thread(postgres.run, _MARKED.format(tenant, MARK[tenant]), database)
                strange = await asyncio.to_thread(postgres.run, _MARKED.format(tenant, MARK[other]), database)
                assert (found, strange) == ([(8, 8)], [(0, 0)])
                assert of[tenant] <= {event.event.trace_id for event in here}
                assert not of[other] & {event.event.trace_id for event in here}
                assert (await two.planes[tenant].log.verify()).problem == ""
            # What one replica's tenant decided, the other's people read at either, and nobody of the other tenant.
            first = next(iter(of[SHOP]))
            for house in (one, two):
                async with house.client(Role.AUDITOR, subject="a@shop.example", of=SHOP) as client:
                    assert (await client.trace(first)).events
                async with house.client(Role.AUDITOR, subject="a@bank.example", of=BANK) as client:
                    with pytest.raises(NotFoundError):
                        await client.trace(first)
            sessions = await asyncio.to_thread(postgres.run, _SESSIONS, database)
            assert sessions == [("aisecops_tenant_bank",), ("aisecops_tenant_shop",)]
            await _made_live_for_one_tenant(one, two)


async def _made_live_for_one_tenant(one: House, two: House) -> None:
    """What is live is live for one tenant, at every replica."""
    before, banks = one.live(SHOP), one.live(BANK)
    changed = one.remotes[SHOP].commit({"README.md": b"changed"}, "Only of the shop")
    for house in (one, two):
        assert (await house.planes[SHOP].policy.sync()).live.commit.id == changed
    await one.planes[SHOP].policy.rollback(Order("ben", "back to what worked"))
    assert (await two.planes[SHOP].policy.sync()).live.commit.id == before
    assert {house.live(BANK) for house in (one, two)} == {banks}


def postgres_database(house: House) -> str:
    return house.settings.database_url.partition("///")[2].partition("?")[0]


async def test_a_tenant_whose_role_reaches_another_keeps_all_from_starting(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    house = await asyncio.to_thread(house_on, postgres, tmp_path)
    database = postgres_database(house)
    too_much = "GRANT USAGE ON SCHEMA aisecops_tenant_bank TO aisecops_tenant_shop"
    await asyncio.to_thread(postgres.run, too_much, database)
    with pytest.raises(LogUnavailableError, match="the role may use what is not its own: aisecops_tenant_bank"):
        async with open_house(house):
            pass


async def test_one_role_for_two_tenants_is_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    house = await asyncio.to_thread(house_on, postgres, tmp_path)
    url = postgres.url(postgres_database(house), "aisecops_tenant_shop")
    entries = dict.fromkeys((SHOP, BANK), f"database_url: '{url}'")
    again = house_in(tmp_path / "again", entries=entries)
    with pytest.raises(LogUnavailableError, match="permission denied for schema aisecops_tenant_bank"):
        async with open_house(again):
            pass
