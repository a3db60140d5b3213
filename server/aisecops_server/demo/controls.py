"""The demo's part about runtime controls: who acts, how much, with whose consent, and that exactly that is done.

Everything is done by the parties themselves: the agent calls over mutual TLS, the approver answers with the command
line in a process of its own, and the swapped arguments are presented as a compromised runtime would present them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aisecops.v1 import execution_service_pb2 as api
from aisecops.v1.grant_pb2 import Grant
from aisecops_client.aio import AsyncClient
from aisecops_client.answers import Answer
from aisecops_client.errors import AisecopsClientError
from aisecops_client.plan import PlanBuilder

from aisecops_server.demo.screen import Screen
from aisecops_server.demo.stage import APPROVER, CAPPED_CALLS, CAPPED_TOOL, OPERATIONS_AGENT, Stage
from aisecops_server.domain.display.words import short_revision
from aisecops_server.domain.formats.canonical import canonical_bytes

_RELEASE = {"service": "checkout-api", "version": "2.14.1", "environment": "production"}
_SWAPPED = {**_RELEASE, "version": "2.14.1-with-a-backdoor"}
_WORDS = 5


@dataclass(frozen=True, slots=True)
class Controlled:
    """What the part found not to be as expected."""

    problems: list[str] = field(default_factory=list)

    def expect(self, *, that: bool, otherwise: str) -> None:
        """Note a problem unless something holds."""
        if not that:
            self.problems.append(otherwise)


async def play_controls(screen: Screen, stage: Stage) -> Sequence[str]:
    """Play the part and return what was not as expected.

    Raises:
        AisecopsClientError: a plan got no answer.
    """
    found = Controlled()
    async with stage.certified_agent(OPERATIONS_AGENT) as agent:
        await _identity(screen, stage, agent, found)
        await screen.pause()
        await _budget(screen, agent, found)
        await screen.pause()
        approved = await _approval(screen, stage, agent, found)
        await screen.pause()
        if approved is not None:
            await _grant(screen, stage, agent, approved, found=found)
    return found.problems


async def _identity(screen: Screen, stage: Stage, agent: AsyncClient, found: Controlled) -> None:
    screen.area("Who acts")
    answer = await agent.decide(_search("Who am I?"))
    principal = answer.decision.principal
    screen.done(f"the agent showed a certificate: {principal.id}", f"proved by {principal.authenticated_by}")
    found.expect(that=principal.id == OPERATIONS_AGENT, otherwise="the certificate proved somebody else")
    async with stage.impostor(OPERATIONS_AGENT) as impostor:
        try:
            await impostor.decide(_search("Who am I?"))
        except AisecopsClientError:
            screen.refused("the same name on a certificate of another authority was turned away at the handshake")
        else:
            found.problems.append("a certificate of another authority was let in")


async def _budget(screen: Screen, agent: AsyncClient, found: Controlled) -> None:
    screen.area("How much")
    outcomes = ["ALLOW"]
    answer = await agent.decide(_search("payments timeout"))
    while answer.outcome == "ALLOW" and len(outcomes) < 2 * CAPPED_CALLS:
        outcomes.append(answer.outcome)
        answer = await agent.decide(_search(f"payments timeout, page {len(outcomes)}"))
    screen.done(f"{len(outcomes)} calls of {CAPPED_TOOL} were allowed and reserved in the books")
    screen.refused(f"call {len(outcomes) + 1} was blocked", ", ".join(answer.rules))
    for finding in answer.decision.findings[:1]:
        screen.say(f"    {finding.message.strip()}")
    found.expect(that=len(outcomes) == CAPPED_CALLS, otherwise=f"{len(outcomes)} of {CAPPED_CALLS} calls were allowed")
    found.expect(that="budget.exhausted" in answer.rules, otherwise="the budget did not run out")


async def _approval(screen: Screen, stage: Stage, agent: AsyncClient, found: Controlled) -> Answer | None:
    screen.area("With whose consent")
    plan = _release()
    asked = await agent.decide(plan)
    found.expect(that=asked.waits_for_people, otherwise="the release did not ask anybody")
    if not asked.waits_for_people:
        return None
    screen.escalated("deploy/release waits for people", f"request {asked.approval_id}")
    screen.say(f"    $ aisecops approvals approve {asked.approval_id} --yes")
    with screen.waiting(f"{APPROVER} answers in another terminal"):
        told = await _approve(stage, asked.approval_id)
    for line in told:
        screen.say(f"    {line}")
    await agent.wait_for_approval(asked, seconds=30)
    answer = await agent.decide(plan, approval_id=asked.approval_id)
    found.expect(that=answer.allowed, otherwise=f"the approved release was not allowed: {answer.explanation}")
    if not answer.allowed:
        return None
    screen.done("the same plan, decided again on the live policy, is allowed", "the approval is used up")
    try:
        second = await agent.decide(plan, approval_id=asked.approval_id)
        found.expect(that=not second.allowed, otherwise="an approval was used twice")
    except AisecopsClientError as error:
        screen.refused("the same approval a second time was refused", error.reason)
    return answer


async def _approve(stage: Stage, approval_id: str) -> list[str]:
    """Approve as a person at a terminal of their own, and return what the command said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "aisecops_server", "approvals", "approve", approval_id, "--yes"),
        *("--state-dir", str(stage.place.state), "--token-file", str(stage.token_file(APPROVER))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()][:_WORDS]


async def _grant(screen: Screen, stage: Stage, agent: AsyncClient, answer: Answer, *, found: Controlled) -> None:
    screen.area("And that exactly that is done")
    [grant] = answer.grants
    left = grant.expires_at.seconds - answer.decision.decided_at.seconds
    screen.done(f"a signed grant for one call of {grant.tool}", f"these arguments, this caller, {left} seconds")
    try:
        await agent.redeem(_use(grant, _SWAPPED, key="a-compromised-runtime"))
    except AisecopsClientError as error:
        screen.refused(f"version {_SWAPPED['version']!r} was swapped in: refused", error.reason)
        screen.say(f"    {error.message}")
    else:
        found.problems.append("swapped arguments were let through")
    await agent.redeem(_use(grant, _RELEASE, key="the-honest-runtime"))
    report = api.ExecutionReport(
        outcome=api.EXECUTION_OUTCOME_EXECUTED,
        tool=grant.tool,
        arguments_sha256=_digest(_RELEASE),
        result_sha256=hashlib.sha256(b"released").hexdigest(),
        cost=api.ExecutionCost(wall_milliseconds=1200),
    )
    closed = await agent.complete(api.CompleteRequest(grant_id=grant.grant_id, report=report))
    found.expect(that=not closed.incidents, otherwise=f"the honest call raised {', '.join(closed.incidents)}")
    screen.done("the call that was granted was redeemed once, made, and reported back")
    incidents = await stage.operator.incidents()
    kinds = [incident.kind for incident in incidents.incidents]
    found.expect(that="other_arguments" in kinds, otherwise="the swap raised no incident")
    screen.say(f"    on record as incident: {', '.join(dict.fromkeys(kinds))}")
    screen.say(f"    decided by policy {short_revision(answer.decision.bundle_revision)}")


def _search(query: str) -> PlanBuilder:
    plan = PlanBuilder(intent="Find out why payments fail.", environment="production", session_id="incident-320")
    asked = plan.source("user_prompt", "Payments fail since noon. Search the logs and tell me why.")
    plan.step(CAPPED_TOOL, {"query": query}, influenced_by=[asked])
    return plan


def _release() -> PlanBuilder:
    plan = PlanBuilder(intent="Deploy checkout-api 2.14.1.", environment="production", session_id="release-2-14-1")
    asked = plan.source("user_prompt", "Deploy checkout-api 2.14.1 to production.")
    plan.step("deploy/release", _RELEASE, influenced_by=[asked])
    return plan


def _use(grant: Grant, arguments: Mapping[str, str], *, key: str) -> api.RedeemRequest:
    return api.RedeemRequest(
        token=grant.token, redemption_key=key, tool=grant.tool, arguments_sha256=_digest(arguments)
    )


def _digest(arguments: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical_bytes(json.loads(json.dumps(arguments)))).hexdigest()
