"""What compiled tables say of an agent, and what a decision says of who asked for it."""

from __future__ import annotations

import pytest
from aisecops_server.domain.agents.agent import Activity, Held, Limit, activity_of, asks_as_agent, entries, entry_of
from aisecops_server.domain.callers.identity import Role

COMPILED = {
    "owner": "support",
    "contact": "support@corp.example",
    "framework": "langgraph",
    "tenant": "default",
    "mode": "observe",
    "profile": "service",
    "environments": {"staging": True, "production": True},
    "capabilities": {"b": {"granted_by": "bob", "id": "x"}, "a": {"granted_by": "alice", "id": "y"}},
    "max_delegation_depth": 2,
}
CHARGE = {"subject": "team", "id": "support", "metric": "calls", "window": "day", "limit": 9}
LIMITS = {"agents": {"ada": {"lasting": [{"charge": CHARGE, "ask_above": 8}], "session": []}}}


def test_an_entry_is_read_from_the_tables_of_the_engine() -> None:
    entry = entry_of({"agents": {"ada": COMPILED}, "limits": LIMITS}, "ada")
    assert entry is not None
    assert (entry.environments, entry.budget, entry.max_delegation_depth) == (("production", "staging"), "service", 2)
    assert entry.capabilities == (Held("a", "alice"), Held("b", "bob"))
    assert entry.limits == (Limit("team", "calls", "day", 9),)


def test_without_a_table_or_an_entry_nobody_is_registered() -> None:
    assert entry_of({}, "ada") is None
    assert entry_of({"agents": {"ada": COMPILED}}, "bob") is None
    assert entries({"agents": None}) == {}


def test_an_entry_of_an_older_bundle_lacks_what_it_did_not_know() -> None:
    known = {name: COMPILED[name] for name in ("owner", "contact", "framework", "environments", "capabilities")}
    entry = entry_of({"agents": {"ada": known}}, "ada")
    assert entry is not None
    assert (entry.tenant, entry.mode, entry.budget, entry.limits, entry.max_delegation_depth) == ("", "", "", (), 0)


@pytest.mark.parametrize(
    ("outcome", "mode", "counted"),
    [
        ("ALLOW", "ENFORCE", {"allowed": 1}),
        ("DENY", "ENFORCE", {"denied": 1}),
        ("REQUIRE_APPROVAL", "ENFORCE", {"held": 1}),
        ("ALLOW", "DRY_RUN", {"tried": 1}),
        ("DENY", "SHADOW", {"tried": 1}),
    ],
)
def test_a_decision_counts_once(outcome: str, mode: str, counted: dict[str, int]) -> None:
    assert activity_of("ada", outcome=outcome, mode=mode, at_ns=7) == Activity("ada", 7, 7, **counted)


def test_activities_add_up() -> None:
    earlier, later = Activity("ada", 5, 6, allowed=1, denied=2), Activity("ada", 3, 9, denied=1, held=4, tried=5)
    assert earlier.joined(later) == Activity("ada", 3, 9, allowed=1, denied=3, held=4, tried=5)


@pytest.mark.parametrize(
    ("roles", "mode", "as_agent"),
    [
        ({Role.AGENT}, "ENFORCE", True),
        ({Role.AGENT}, "DRY_RUN", True),
        (set(Role), "ENFORCE", True),
        (set(Role), "DRY_RUN", False),
        ({Role.APP}, "DRY_RUN", False),
        (set(), "ENFORCE", False),
    ],
)
def test_people_who_only_try_are_no_agents(roles: set[Role], mode: str, *, as_agent: bool) -> None:
    assert asks_as_agent(roles, mode) is as_agent
