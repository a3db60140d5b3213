"""Every runtime incident, forged: it is found, on record, listed, and alarmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops_server.domain.errors import GrantNotUsableError, InvalidRequestError
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.grants.execution import ExecutionCost, ExecutionOutcome, ExecutionReport
from aisecops_server.domain.grants.incident import IncidentFilter, IncidentKind
from aisecops_server.usecases.grants.issue_grants import SignedGrant
from aisecops_server.usecases.grants.report_execution import ReportCommand

from tests.scenes.grants.granting import (
    AGENT,
    GRANT_SECONDS,
    REPORT_SECONDS,
    Workshop,
    arguments_digest,
    details,
    principal,
    report,
    step,
    workshop,
)

pytestmark = pytest.mark.asyncio
PROXY = "spiffe://example.org/tool/mail"


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(tmp_path) as opened:
        yield opened


def seen(tool: str = "mail/send", **arguments: object) -> ExecutionReport:
    """Return the report of a call that nobody granted."""
    return ExecutionReport(
        outcome=ExecutionOutcome.EXECUTED,
        tool=tool,
        arguments_digest=arguments_digest(**arguments),
        result_digest="",
        cost=ExecutionCost(),
        started_at_seconds=0,
        failure="",
    )


async def told(shop: Workshop, observed: ExecutionReport, **known: str) -> tuple[IncidentKind, ...]:
    return await shop.use.report(ReportCommand(PROXY, known.pop("agent_id", AGENT.id), observed, **known))


async def test_a_call_without_a_grant(shop: Workshop) -> None:
    assert await told(shop, seen(to="ada")) == (IncidentKind.RUN_WITHOUT_GRANT,)
    [event] = await shop.events("incident.")
    assert details(event) | {"agent": AGENT.id, "principal": PROXY, "tool": "mail/send"} == details(event)


async def test_a_call_with_a_grant_or_decision_that_is_made_up(shop: Workshop) -> None:
    for known in ({"grant_id": "grt-none.0"}, {"decision_id": "dec-none"}, {"trace_id": "0" * 32}):
        assert await told(shop, seen(), **known) == (IncidentKind.RUN_WITHOUT_GRANT,)


@pytest.mark.parametrize("tool", ["db/delete", "bank/pay"])
async def test_a_call_that_was_blocked_and_ran(shop: Workshop, tool: str) -> None:
    decided, _ = await shop.decided(step(tool, table="users"))
    decision_id, trace_id = (str(decided.details[name]) for name in ("decision_id", "trace_id"))
    for known in (
        {"decision_id": decision_id},
        {"trace_id": trace_id},
        {"decision_id": decision_id, "step_id": "s1"},
    ):
        assert await told(shop, seen(tool, table="users"), **known) == (IncidentKind.BLOCKED_BUT_RUN,)
    # Changed a little, it is still that step; another agent's or another tool's call it is not.
    assert await told(shop, seen(tool, table="all"), trace_id=trace_id, step_id="s1") == (IncidentKind.BLOCKED_BUT_RUN,)
    assert await told(shop, seen("db/read"), trace_id=trace_id) == (IncidentKind.RUN_WITHOUT_GRANT,)
    other = await told(shop, seen(tool, table="users"), trace_id=trace_id, agent_id="agent-b")
    assert other == (IncidentKind.RUN_WITHOUT_GRANT,)
    event = (await shop.events("incident.blocked"))[0]
    assert (event.event.decision_id, details(event)["severity"]) == (decision_id, "critical")


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"tool": "mail/delete"}, IncidentKind.OTHER_TOOL),
        ({"arguments_digest": digest(b"other")}, IncidentKind.OTHER_ARGUMENTS),
        ({"started_at_seconds": 10**10}, IncidentKind.EXECUTED_AFTER_EXPIRY),
    ],
)
@pytest.mark.parametrize("by_proxy", [True, False])
async def test_a_call_other_than_the_granted_one(
    shop: Workshop, changed: dict[str, Any], kind: IncidentKind, *, by_proxy: bool
) -> None:
    [signed] = await shop.granted()
    if by_proxy:
        found = await told(shop, report(signed.grant, **changed), grant_id=signed.grant.id)
    else:
        found = (await shop.complete(signed, **changed)).incidents
    assert found == (kind,)
    [event] = await shop.events("incident.")
    assert (details(event)["grant"], event.event.decision_id) == (signed.grant.id, signed.grant.decision_id)


async def test_a_call_before_what_it_depends_on(shop: Workshop) -> None:
    _, second = await shop.granted(step(to="ada"), step(id="s2", depends_on=["s1"]))
    assert (await shop.complete(second)).incidents == (IncidentKind.OUT_OF_ORDER,)


async def test_a_call_of_another_caller_with_a_good_grant(shop: Workshop) -> None:
    [signed] = await shop.granted()
    found = await told(shop, report(signed.grant), grant_id=signed.grant.id, agent_id="agent-b")
    assert found == (IncidentKind.OTHER_CALLER,)


async def test_a_call_after_its_grant_had_ended_that_says_nothing_of_its_time(shop: Workshop) -> None:
    [signed] = await shop.granted()
    shop.clock.advance(GRANT_SECONDS)
    done = await shop.complete(signed, started_at_seconds=0)
    assert done.incidents == (IncidentKind.EXECUTED_AFTER_EXPIRY,)


async def test_a_long_call_that_began_in_time_is_no_incident(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.redeem(signed)
    shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS - 1)
    assert (await shop.complete(signed)).incidents == ()


async def test_a_call_as_granted_that_a_proxy_saw_is_no_incident(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.redeem(signed)
    assert await told(shop, report(signed.grant), grant_id=signed.grant.id) == ()
    assert [stored.event.type for stored in await shop.events("execution.")] == ["execution.observed"]


async def test_a_grant_that_was_never_given(shop: Workshop) -> None:
    [signed] = await shop.granted()
    head, payload, signature = signed.token.split(".")
    for forged in ("", "a.b.c", f"{head}.{payload}.", f"{head}.{payload[:-2]}AA.{signature}"):
        with pytest.raises(GrantNotUsableError):
            await shop.redeem(SignedGrant(signed.grant, forged))
    assert await shop.incidents() == ["grant_forged"] * 4


async def test_every_kind_of_incident_has_a_severity_and_a_message() -> None:
    assert all(kind.severity and kind.message for kind in IncidentKind)


async def test_incidents_are_listed_newest_first_and_narrowed(shop: Workshop) -> None:
    [signed] = await shop.granted()
    for tool in ("a/b", "c/d", "e/f"):
        await told(shop, seen(tool))
    with pytest.raises(GrantNotUsableError):
        await shop.redeem(signed, by=principal("agent-b"))
    page = await shop.store.incidents(IncidentFilter(), page_size=3, page_token="")
    rest = await shop.store.incidents(IncidentFilter(), page_size=3, page_token=page.next_token)
    kinds = [stored.event.type for stored in (*page.incidents, *rest.incidents)]
    assert kinds == ["incident.other_caller", *["incident.run_without_grant"] * 3]
    assert (len(page.incidents), rest.next_token) == (3, "")
    indices = [stored.index for stored in (*page.incidents, *rest.incidents)]
    assert indices == sorted(indices, reverse=True)
    for narrow, count in (
        (IncidentFilter(kind="other_caller"), 1),
        (IncidentFilter(severity="critical"), 1),
        (IncidentFilter(severity="low"), 0),
        (IncidentFilter(agent_id=AGENT.id), 4),
        (IncidentFilter(agent_id="agent-b"), 0),
        (IncidentFilter(trace_id=signed.grant.trace_id), 1),
    ):
        assert len((await shop.store.incidents(narrow, page_size=9, page_token="")).incidents) == count, narrow
    for token in ("x", "-1", "9" * 30):
        with pytest.raises(InvalidRequestError):
            await shop.store.incidents(IncidentFilter(), page_size=3, page_token=token)


async def test_an_incident_is_alarmed_where_the_process_is_watched(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await told(shop, seen())
    assert "run_without_grant" in caplog.text


async def test_a_follower_hears_of_an_incident(shop: Workshop) -> None:
    events = shop.log.events(from_index=0, follow=True, trace_id="")
    waiting = asyncio.ensure_future(anext(events))
    await told(shop, seen())
    assert (await waiting).event.type == "incident.run_without_grant"
    await events.aclose()
