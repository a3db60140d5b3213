"""The key of grants is rotated in a control plane that serves, over the wire, while agents go on."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from aisecops.v1.execution_service_pb2 import RedeemRequest
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_client.errors import AisecopsClientError
from aisecops_grant.arguments import canonical_arguments
from aisecops_grant.verifier import FollowedGrantKeys, GrantVerifier
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import compose
from aisecops_server.domain.callers.identity import Role

from tests.integration.api.real import AGENT, running, settings_in
from tests.scenes.grants.granting import IDS
from tests.scenes.planes.engines import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]
ROTATIONS = 3
ARGUMENTS = {"ticket_id": "T-1"}


def plan() -> PlanBuilder:
    made = PlanBuilder(intent="read a ticket", environment="production")
    made.step("tickets/read", ARGUMENTS)
    return made


async def granted(client: AsyncClient) -> str:
    answer = await client.decide(plan())
    assert answer.allowed, answer.reasons
    [grant] = answer.grants
    return str(grant.token)


async def redeem(client: AsyncClient, token: str) -> None:
    digest = hashlib.sha256(canonical_arguments(ARGUMENTS)).hexdigest()
    await client.redeem(
        RedeemRequest(token=token, tool="tickets/read", arguments_sha256=digest, redemption_key=IDS.event_id())
    )


async def test_under_load_no_decision_fails_and_no_grant_is_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, client):
        socket = f"unix:{settings.state_dir}/run/aisecops.sock"
        operator_token = issuer(settings).mint("dana@corp.example", (Role.PLATFORM,))
        ended = asyncio.Event()
        served = 0
        # A tool server in the same loop: it asks for the keys when it does not know one.
        verifier = GrantVerifier(FollowedGrantKeys(plane.grants.key_set), server="tickets")
        kept: list[str] = []

        async def agent() -> None:
            nonlocal served
            held: list[str] = []
            while not ended.is_set():
                held.append(await granted(client))
                # Some are used right away and some after the key was replaced, at the tool or at the control plane.
                if len(held) > 5:
                    token = held.pop(0)
                    verifier.verify(token, tool="tickets/read", arguments=ARGUMENTS, agent_id=AGENT)
                    await redeem(client, token)
                    served += 1
            kept.extend(held)

        async with AsyncClient.connect(socket, operator_token) as operator:
            async with asyncio.TaskGroup() as group:
                for _ in range(4):
                    group.create_task(agent())
                for number in range(1, ROTATIONS + 1):
                    await until(lambda least=number * 20: served >= least)
                    rotated = await operator.rotate_grant_key(reason="drill")
                    assert rotated.number == number
                ended.set()
            for token in kept:
                await redeem(client, token)
            keys = json.loads(await operator.grant_keys())["keys"]
            assert len(keys) == ROTATIONS + 1
            assert ["retired_at" in key for key in keys] == [False] + [True] * ROTATIONS
            assert len({key["kid"] for key in keys}) == len(keys)
            assert (await operator.grant_key_state()).problem == ""
            # Taken at once: nothing of before opens anything.
            token = await granted(client)
            revoked = await operator.rotate_grant_key(reason="stolen", revoke=True)
            assert len(json.loads(revoked.jwks_json)["keys"]) == 1
            with pytest.raises(AisecopsClientError, match="not signed by this control plane"):
                await redeem(client, token)
            await redeem(client, await granted(client))
        report = await plane.log.verify()
        assert report.ok, report.problem
    async with compose(settings) as plane:
        assert plane.grant_keys.keys.chain.number == ROTATIONS + 1


async def test_who_runs_the_control_plane_rotates_and_nobody_else(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, client):
        before = await client.grant_keys()
        with pytest.raises(AisecopsClientError, match="needs the role platform, security"):
            await client.rotate_grant_key(reason="mine")
        token = issuer(settings).mint("dana@corp.example", (Role.SECURITY,))
        async with AsyncClient.connect(f"unix:{settings.state_dir}/run/aisecops.sock", token) as operator:
            for reason in ("", "x" * 1001):
                with pytest.raises(AisecopsClientError, match="reason"):
                    await operator.rotate_grant_key(reason=reason)
        assert await client.grant_keys() == before
        assert plane.grant_keys.keys.chain.number == 0
