"""What is asked of a decision later finds the policy of its tenant: replay, explanation and evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from aisecops.v1 import replay_pb2
from aisecops.v1 import replay_service_pb2 as api
from aisecops_client import AisecopsClientError, Client, NotFoundError
from aisecops_client.replays import Replays
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.usecases.evidence.export_evidence import EvidenceRequest
from aisecops_verify import read_package

from tests.scenes.planes.tenants import AGENT, AGENTS, BANK, SHOP, House, house_in, open_house, refund

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

T = TypeVar("T")


async def as_person(house: House, tenant: str, work: Callable[[Client], T]) -> T:
    """Ask with the blocking client, in a thread of its own, as somebody of one tenant."""
    token = house.token(*Role, subject=f"person@{tenant}.example", tenants=(tenant,))

    def ask() -> T:
        with Client.connect(f"unix:{house.settings.socket}", token) as client:
            client.timeout_seconds = client.work_seconds = 120.0
            return work(client)

    return await asyncio.to_thread(ask)


def replayed(client: Client, revision: str) -> replay_pb2.Replay:
    replays = Replays(client)
    policy = replay_pb2.ReplayPolicy(revision=revision)
    *_, last = replays.watch(replays.start(api.StartReplayRequest(candidate=policy)).replay_id)
    return last


async def test_a_decision_is_replayed_explained_and_proved_by_the_policy_of_its_tenant(tmp_path: Path) -> None:
    house = house_in(tmp_path)
    async with open_house(house):
        traces = {}
        for tenant in (SHOP, BANK):
            async with house.client(of=tenant) as client:
                decision = (await client.decide(refund())).decision
            traces[tenant] = decision.trace_id
            explained = await as_person(
                house, tenant, lambda client, wanted=decision: client.explain(wanted.decision_id)
            )
            assert (explained.replay.reproduced, explained.decision.tenant) == (True, tenant)
        # What the bank would do to the shop's agent, the shop does from now on.
        agents = (house.remotes[SHOP].path / AGENTS).read_bytes().replace(AGENT.encode(), b"spiffe://corp.example/x")
        stricter = house.remotes[SHOP].commit({AGENTS: agents}, "Nobody is let in")
        flipped = await as_person(house, SHOP, lambda client: replayed(client, stricter))
        assert (flipped.report.compared, flipped.report.stricter) == (1, 1)
        with pytest.raises(AisecopsClientError, match="has no commit, branch or tag"):
            await as_person(house, BANK, lambda client: replayed(client, stricter))
        with pytest.raises(NotFoundError):
            await as_person(house, BANK, lambda client: Replays(client).replay(flipped.replay_id))
        for tenant, other in ((SHOP, BANK), (BANK, SHOP)):
            plane = house.planes[tenant]
            request = EvidenceRequest((traces[tenant],))
            package = await plane.export(request, principal=auditor(tenant))
            text = b"\n".join(read_package(package.content).values())
            assert house.remotes[tenant].git("rev-parse", "HEAD~1" if tenant == SHOP else "HEAD").encode() in text
            assert house.remotes[other].head().encode() not in text


def auditor(tenant: str) -> Principal:
    return Principal(PrincipalId(f"auditor@{tenant}.example"), "token", frozenset({Role.AUDITOR}))
