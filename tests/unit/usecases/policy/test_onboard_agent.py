from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from aisecops_server.domain.agents.onboarding import Onboarding
from aisecops_server.domain.errors import BundleRejectedError, InvalidRequestError
from aisecops_server.domain.recordings.recorded_trace import RecordedCall, RecordedTrace
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.usecases.policy.onboard_agent import Said, merged, onboard_agents

from tests.scenes.policy.policy_cases import BUNDLE

SHIPPED: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (BUNDLE / "data").glob("*.yaml")
}
SUPPORT = "spiffe://corp.example/agent/support-assistant"


def trace(*tools: str, agent: str = "concierge", where: str = "production", number: int = 1) -> RecordedTrace:
    calls = tuple(RecordedCall(f"s{index}", tool, '{"to": "x"}', None, index) for index, tool in enumerate(tools))
    return RecordedTrace(f"{number:032x}", agent, "", where, (), calls)


def onboarded(*traces: RecordedTrace, files: dict[str, Any] = SHIPPED, **said: Any) -> Onboarding:
    return onboard_agents(traces, files, Said(**said))


def added(found: Onboarding, table: str) -> dict[str, Any]:
    return {entry.key: entry.fields for entry in found.entries if entry.table == table}


def remarks(found: Onboarding, key: str) -> Any:
    return next(entry.remarks for entry in found.entries if entry.key == key)


def test_an_unknown_agent_gets_an_entry_in_every_table_and_grants_for_what_it_called() -> None:
    found = onboarded(trace("hotel/search_rooms", "hotel/reserve_room"), owner="guests")
    assert [entry.table for entry in found.entries] == [
        "servers",
        "tools",
        "tools",
        "capabilities",
        "capabilities",
        "agents",
    ]
    assert added(found, "servers")["hotel"]["environments"] == ["production"]
    assert {name: entry["effect"] for name, entry in added(found, "tools").items()} == {
        "hotel/reserve_room": "spend",
        "hotel/search_rooms": "read",
    }
    assert added(found, "capabilities")["hotel.read"]["tools"] == ["hotel/search_rooms"]
    assert added(found, "capabilities")["hotel.spend"]["risk"] == "high"
    assert added(found, "agents")["concierge"]["capabilities"] == {
        "hotel.read": {"granted_by": "guests"},
        "hotel.spend": {"granted_by": "guests"},
    }
    assert compile_tables(merged(SHIPPED, found))["agents"]["concierge"]["owner"] == "guests"
    assert (found.by_hand, found.left_out) == ((), ())


def test_nothing_is_believed_of_a_tool_that_its_name_cannot_say() -> None:
    found = onboarded(trace("hotel/search_rooms", "hotel/frobnicate"))
    assert {(entry["reach"], entry["result_trust"]) for entry in added(found, "tools").values()} == {
        ("external", "unverified")
    }
    assert added(found, "tools")["hotel/frobnicate"]["effect"] == "execute"
    assert remarks(found, "hotel/frobnicate")["effect"] == "its name says nothing that is known, so the worst: check"
    assert all("check" in remarks(found, name)["effect"] for name in added(found, "tools"))


def test_on_own_systems_only_what_neither_sends_nor_spends_nor_is_given_an_address_stays_inside() -> None:
    tools = ("hotel/search_rooms", "hotel/cancel_stay", "hotel/send_note", "hotel/pay_bill", "hotel/get_webpage")
    found = onboarded(trace(*tools), systems="own")
    inside = {name for name, entry in added(found, "tools").items() if entry["reach"] == "internal"}
    assert inside == {"hotel/search_rooms", "hotel/cancel_stay"}


def test_a_persons_own_table_is_taken_as_it_is_and_nothing_is_guessed() -> None:
    said = {
        "hotel/frobnicate": {"effect": "read", "result_trust": "internal", "arguments": {"to": "destination"}},
        "hotel/unused": {"description": "Nobody called it.", "effect": "delete"},
    }
    found = onboarded(trace("hotel/frobnicate"), tools=said)
    assert added(found, "tools")["hotel/frobnicate"] == {"description": "Frobnicate.", **said["hotel/frobnicate"]}
    assert added(found, "tools")["hotel/unused"] == said["hotel/unused"]
    assert "effect" not in remarks(found, "hotel/frobnicate")
    assert list(added(found, "agents")["concierge"]["capabilities"]) == ["hotel.read"]


def test_an_entry_that_is_there_stays_and_is_said_to_differ_from_a_persons_own_table() -> None:
    found = onboarded(trace("crm/read_customer", agent=SUPPORT), tools={"crm/read_customer": {"effect": "write"}})
    assert found.entries == ()
    assert found.by_hand == ("tools.yaml: crm/read_customer: it stands there already, and differs from your table",)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("hotel/x", {"effect": "reads"}),
        ("hotel/x", {"efect": "read"}),
        ("hotel/x", "read"),
        ("hotel/x\n  y", {"effect": "read"}),
        ("x", {"effect": "read"}),
    ],
)
def test_a_malformed_tool_of_a_persons_own_table_is_named(name: str, entry: Any) -> None:
    with pytest.raises(InvalidRequestError, match="the table of tools"):
        onboarded(trace("hotel/y"), tools={name: entry})


def test_a_second_onboarding_adds_nothing() -> None:
    once = onboarded(trace("hotel/search_rooms", "crm/read_customer"))
    again = onboarded(trace("hotel/search_rooms", "crm/read_customer"), files=merged(SHIPPED, once))
    assert again == Onboarding(())


def test_a_known_tool_is_opened_by_the_smallest_capability_that_is_there() -> None:
    found = onboarded(trace("web/fetch", "email/send"))
    assert [entry.table for entry in found.entries] == ["agents"]
    assert list(added(found, "agents")["concierge"]["capabilities"]) == ["email.customer", "web.read"]


def test_what_would_change_an_entry_that_is_there_is_left_to_a_person() -> None:
    found = onboarded(trace("crm/wipe", agent=SUPPORT, where="nowhere"))
    assert list(added(found, "tools")) == ["crm/wipe"]
    assert added(found, "agents") == {}
    assert found.by_hand == (
        "servers.yaml: crm: add the environment nowhere",
        f"agents.yaml: {SUPPORT}: add the environment nowhere",
        f"agents.yaml: {SUPPORT}: grant the capability crm.delete if it should have it",
    )


def test_a_server_that_lists_its_tools_must_list_new_ones_too() -> None:
    files = copy.deepcopy(SHIPPED)
    files["servers"]["crm"]["tools"] = ["find_customer", "read_customer", "list_orders", "update_customer"]
    files["servers"]["crm"]["tools"].append("issue_refund")
    assert "servers.yaml: crm: list the tool wipe" in onboarded(trace("crm/wipe"), files=files).by_hand


def test_a_capability_never_takes_the_name_of_another() -> None:
    once = merged(SHIPPED, onboarded(trace("hotel/search_rooms")))
    found = onboarded(trace("hotel/search_rooms", "hotel/get_bill", agent="other"), files=once)
    assert list(added(found, "capabilities")) == ["hotel.read.2"]
    assert list(added(found, "agents")["other"]["capabilities"]) == ["hotel.read", "hotel.read.2"]


def test_the_budget_holds_the_longest_session() -> None:
    short, long = trace("hotel/get_bill"), trace(*["hotel/get_bill"] * 45, number=2)
    assert "budget" not in added(onboarded(short), "agents")["concierge"]
    found = onboarded(short, long)
    assert added(found, "agents")["concierge"]["budget"] == "service"
    assert "45 calls and 0 changes" in remarks(found, "concierge")["budget"]
    endless = onboarded(trace(*["hotel/get_bill"] * 500))
    assert "too small" in remarks(endless, "concierge")["budget"]


@pytest.mark.parametrize(
    ("what", "blank"), [("agent", trace("hotel/x", agent="")), ("environment", trace("h/x", where=""))]
)
def test_a_trace_that_does_not_say_who_or_where_is_refused_unless_a_person_says_it(
    what: str, blank: RecordedTrace
) -> None:
    with pytest.raises(InvalidRequestError, match=f"does not say its {what}") as refused:
        onboarded(blank)
    assert f"--{what}" in refused.value.hint
    found = onboarded(blank, agent="told", environment="staging")
    assert len(added(found, "agents")) == 1


def test_a_trace_in_two_parts_is_one() -> None:
    found = onboarded(trace("hotel/get_bill", agent=""), trace(agent="late", where=""))
    assert list(added(found, "agents")) == ["late"]


@pytest.mark.parametrize(
    "tool",
    [
        "hotel/x: {effect: read}",
        "hotel/x\n  effect: read",
        'hotel/"x"',
        "hotel/x # y",
        "hotel/\uff58",
        "hotel/x\u202ey",
        "hotel/a/b",
        "/x",
        "hotel/",
        "hotel/" + "x" * 129,
        "h" * 65 + "/x",
    ],
)
def test_a_tool_name_that_no_table_may_hold_is_left_out_and_said(tool: str) -> None:
    found = onboarded(trace(tool, "hotel/get_bill"))
    assert list(added(found, "tools")) == ["hotel/get_bill"]
    assert len(found.left_out) == 1
    assert found.left_out[0].isascii()
    assert found.left_out[0].isprintable()


@pytest.mark.parametrize("agent", ["a b", "a\nb: {}", "'a'", "ä", "&a", "*a", "{a}", "#a", "x" * 257, "\u200ba"])
def test_an_agent_name_that_no_table_may_hold_is_left_out_and_said(agent: str) -> None:
    found = onboarded(trace("hotel/get_bill", agent=agent))
    assert found.entries == ()
    assert found.left_out[0].isascii()


def test_an_argument_name_that_is_no_name_is_not_repeated() -> None:
    call = RecordedCall("s1", "hotel/get_bill", '{"id": 1, "x\\n  effect: read": 2}', None, 1)
    found = onboarded(RecordedTrace("a" * 32, "concierge", "", "production", (), (call,)))
    assert remarks(found, "hotel/get_bill")[""] == "called with id"


def test_tables_that_are_not_whole_are_refused_before_anything_is_drafted() -> None:
    broken = {**SHIPPED, "agents": {"x": {"owner": "y"}}}
    with pytest.raises(BundleRejectedError, match="table agents"):
        onboarded(trace("hotel/get_bill"), files=broken)
