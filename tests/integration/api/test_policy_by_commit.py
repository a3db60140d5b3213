"""What a commit to the tables switches, without a restart and without a change of any program."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aisecops.v1 import decision_pb2
from aisecops_client import Answer, AsyncClient, PlanBuilder
from aisecops_server.adapters.git.create import commit_files
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.settings import Settings

from tests.integration.api.real import AGENT, running, settings_in

STRANGER = "spiffe://corp.example/agent/nobody"
Edit = Callable[[Any], object]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


_seconds = itertools.count(1_790_000_100, 60)


async def change(plane: ControlPlane, table: str, edit: Edit) -> None:
    """Commit a change of one table and make it live."""
    repository = Path(plane.settings.repository)
    path = f"data/{table}.yaml"
    held = yaml.safe_load((repository / path).read_text(encoding="utf-8"))
    edit(held)
    content = yaml.safe_dump(held, sort_keys=False).encode()
    commit = commit_files(repository, {path: content}, message=f"Change {table}", at_seconds=next(_seconds))
    await plane.policy.sync()
    live = plane.live.live
    assert live is not None
    assert live.commit.id == commit


def plan(tool: str, arguments: dict[str, object], asked: str) -> PlanBuilder:
    builder = PlanBuilder(intent=asked, environment="production")
    builder.step(tool, arguments, influenced_by=[builder.source("user_prompt", asked)])
    return builder


async def ungranted(client: AsyncClient) -> Answer:
    return await client.decide(plan("ledger/read_account", {"account": "1200"}, "Show account 1200"))


async def refund(client: AsyncClient, amount: int = 500) -> Answer:
    asked = f"Refund order o-77 of customer c-12 with {amount} EUR"
    arguments = {"order_id": "o-77", "customer_id": "c-12", "amount": amount, "reason": "late"}
    return await client.decide(plan("crm/issue_refund", arguments, asked))


@pytest.mark.asyncio
async def test_a_commit_switches_an_agent_between_observing_and_enforcing(settings: Settings) -> None:
    async with running(settings) as (plane, client):
        before = await ungranted(client)
        assert (before.outcome, before.allowed) == ("DENY", False)
        assert "capability.capability_not_granted" in before.explanation
        await change(plane, "modes", lambda table: table["agents"].update({AGENT: "observe"}))
        observed = await ungranted(client)
        assert (observed.outcome, observed.allowed) == ("ALLOW", True)
        assert observed.decision.policy_mode == decision_pb2.POLICY_MODE_OBSERVE
        assert observed.decision.would_outcome == decision_pb2.OUTCOME_DENY
        assert {finding.effect for finding in observed.decision.findings} == {decision_pb2.EFFECT_WARN}
        assert decision_pb2.EFFECT_DENY in {finding.would_effect for finding in observed.decision.findings}
        assert observed.explanation.startswith("Allowed because policy only observes; enforced, it would be denied")
        # What is observed is not held back for people either, and asks nobody.
        assert (await refund(client)).outcome == "ALLOW"
        await change(plane, "modes", lambda table: table["agents"].update({AGENT: "enforce"}))
        assert (await ungranted(client)).outcome == "DENY"


@pytest.mark.asyncio
async def test_an_agent_that_is_tried_gets_decisions_that_open_nothing(settings: Settings) -> None:
    async with running(settings) as (plane, client):
        await change(plane, "modes", lambda table: table["agents"].update({AGENT: "dry_run"}))
        read = await client.decide(plan("tickets/read", {"ticket_id": "T-1"}, "Read ticket T-1"))
        assert (read.outcome, read.allowed) == ("ALLOW", False)
        assert read.decision.mode == decision_pb2.MODE_DRY_RUN
        assert list(read.grants) == []
        held = await refund(client)
        assert (held.outcome, held.decision.mode) == ("REQUIRE_APPROVAL", decision_pb2.MODE_DRY_RUN)


@pytest.mark.asyncio
async def test_a_stranger_is_denied_whatever_is_only_observed(settings: Settings) -> None:
    async with running(settings, agent=STRANGER) as (plane, client):
        rules = ("identity", "identity.agent_unregistered", "capability", "decision", "plan", "mcp")
        await change(
            plane,
            "modes",
            lambda table: table.update({"default": "observe", "rules": dict.fromkeys(rules, "observe")}),
        )
        answer = await ungranted(client)
        assert (answer.outcome, answer.allowed) == ("DENY", False)
        assert answer.decision.policy_mode == decision_pb2.POLICY_MODE_ENFORCE


@pytest.mark.asyncio
async def test_a_commit_changes_who_must_agree_and_for_how_long(settings: Settings) -> None:
    async with running(settings) as (plane, client):
        asked = (await refund(client)).decision.approval_demand
        assert (asked.approvers_required, list(asked.groups), asked.expires_seconds) == (1, [], 900)
        await change(
            plane,
            "approvals",
            lambda table: table["tools"]["crm/issue_refund"].update(
                {"approvers_required": 3, "groups": ["support-approvers"], "expires_seconds": 120}
            ),
        )
        asked = (await refund(client)).decision.approval_demand
        assert (asked.approvers_required, list(asked.groups), asked.expires_seconds) == (3, ["support-approvers"], 120)
        assert len(asked.step_ids) == 1
        await change(plane, "approvals", lambda table: table["tools"]["crm/issue_refund"].update({"amount_over": 900}))
        assert (await refund(client)).outcome == "ALLOW"


@pytest.mark.asyncio
async def test_a_commit_narrows_a_grant_and_the_refusal_names_it(settings: Settings) -> None:
    async with running(settings) as (plane, client):
        assert (await refund(client, 80)).decision.steps[0].grant == f"{AGENT}#refund.issue"

        def narrow(agents: dict[str, Any]) -> None:
            agents[AGENT]["capabilities"]["refund.issue"]["scopes"] = {"amount": {"at_most": 50}}

        await change(plane, "agents", narrow)
        assert (await refund(client, 50)).outcome == "ALLOW"
        answer = await refund(client, 51)
        assert (answer.outcome, answer.decision.steps[0].grant) == ("DENY", "")
        finding = next(found for found in answer.decision.findings if found.rule == "capability.outside_scope")
        assert (
            f"The grant {AGENT}#refund.issue does not cover the call: amount must be within 0 to 50" in finding.message
        )
        assert ("/plan/steps/0/arguments/amount", "51") in {(fact.pointer, fact.value_json) for fact in finding.facts}
