from __future__ import annotations

import random
from typing import Any

from aisecops_server.domain.replays.flip_groups import FlipGroup, Grouping, groups_of_report, ordered
from hypothesis import given
from hypothesis import strategies as st

OLD, OTHER = "1" * 40, "2" * 40
REFUND = "approvals.tools.crm/issue_refund.amount_over"
TRANSFER = "approvals.tools.payments/create_transfer.amount_over"


def change(
    subject: str, *, kind: str = "ROW_CHANGED", was: str = "100", now: str = "50", line: int = 7
) -> dict[str, Any]:
    sides = {"before": {"file": "data/x.yaml", "line": line, "text": was}}
    return {"kind": kind, "subject": subject, "clause": "", **sides, "after": {**sides["before"], "text": now}}


def result(number: int = 1, before: str = "DENY", after: str = "ALLOW", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "decision_id": f"dec-{number}",
        "agent_id": "agent-a",
        "tools": ["crm/issue_refund"],
        "bundle_revision": OLD,
        "verdict_class": "OUTCOME_FLIP",
        "before": before,
        "after": after,
        "direction": "LOOSER" if before > after or before == "REQUIRE_APPROVAL" else "STRICTER",
        "fires_now": [],
        "no_longer": [{"rule": "a.rule", "step_id": "s1", "effect": "deny"}],
        "parts": ["outcome"],
        "reason": "",
    }
    return {**fields, **more}


def policy(*changes: dict[str, Any], revision: str = OLD) -> dict[str, Any]:
    return {"revision": revision, "changes": list(changes)}


def subjects(grouping: Grouping, told: dict[str, Any]) -> list[str]:
    return [clause["subject"] for clause in grouping.key(told).clauses]


def grouped(grouping: Grouping, results: list[dict[str, Any]]) -> list[FlipGroup]:
    found: dict[str, FlipGroup] = {}
    grouping.add(results, found)
    return ordered(found.values())


def test_the_same_flip_for_another_clause_is_another_group():
    grouping = Grouping([policy(change(REFUND), change(TRANSFER))])
    refund, transfer = result(1), result(2, tools=["payments/create_transfer"])
    assert [group.count for group in grouped(grouping, [refund, transfer, {**refund, "decision_id": "dec-3"}])] == [
        2,
        1,
    ]
    assert subjects(grouping, refund) == [REFUND]
    assert subjects(grouping, transfer) == [TRANSFER]


def test_a_rule_that_fires_is_nearer_than_a_row_and_a_row_than_the_library():
    rule, other = change("a.rule", kind="RULE_CHANGED"), change("b.rule", kind="RULE_CHANGED")
    library = change("aisecops.lib", kind="LIBRARY_CHANGED")
    assert subjects(Grouping([policy(library, other, change(REFUND), rule)]), result()) == ["a.rule"]
    assert subjects(Grouping([policy(library, other, change(REFUND))]), result()) == [REFUND]
    assert subjects(Grouping([policy(library, other, change(TRANSFER))]), result()) == ["aisecops.lib"]
    assert subjects(Grouping([policy(other, change(TRANSFER))]), result()) == []


def test_a_change_that_stands_alone_is_the_cause_whatever_it_is_about():
    assert subjects(Grouping([policy(change(TRANSFER))]), result()) == [TRANSFER]


def test_two_results_that_differ_only_in_who_asked_can_be_of_two_groups():
    rows = [change("budgets.agents.agent-a.calls"), change("budgets.agents.agent-b.calls")]
    grouping = Grouping([policy(*rows)])
    results = [result(number, agent_id=agent) for number, agent in enumerate(["agent-a", "agent-b", "agent-a"])]
    assert [subjects(grouping, one)[0][-7] for one in results] == ["a", "b", "a"]
    assert [group.count for group in grouped(grouping, results)] == [2, 1]


def test_a_part_of_a_name_is_not_the_name():
    rows = [change("approvals.tools.crm/issue_refund_all.amount_over"), change(TRANSFER)]
    assert subjects(Grouping([policy(*rows)]), result()) == []


def test_what_is_looked_at_is_what_changed_from_the_policy_that_decided():
    policies = [policy(change(REFUND), revision=OTHER), policy(change(TRANSFER))]
    assert subjects(Grouping(policies), result()) == [TRANSFER]
    assert subjects(Grouping(policies), result(bundle_revision="3" * 40)) == []
    assert subjects(Grouping(policies[:1], compared=True), result()) == [REFUND]


def test_the_same_clause_on_another_line_of_another_revision_is_the_same_group():
    grouping = Grouping([policy(change(REFUND)), policy(change(REFUND, line=9), revision=OTHER)])
    [group] = grouped(grouping, [result(1), result(2, bundle_revision=OTHER)])
    assert (group.count, group.examples) == (2, ["dec-1", "dec-2"])
    assert grouping.key(result(1)).id != Grouping([policy(change(REFUND, now="40"))]).key(result(1)).id


def test_what_lets_most_through_stands_first_and_no_flip_last():
    moves = [("ALLOW", "DENY"), ("REQUIRE_APPROVAL", "ALLOW"), ("DENY", "ALLOW"), ("ALLOW", "REQUIRE_APPROVAL")]
    results = [result(number, *move) for number, move in enumerate(moves)]
    results.append(result(9, "DENY", "DENY", verdict_class="REASON_ONLY", direction=""))
    found = [(group.key.before, group.key.after) for group in grouped(Grouping([]), results)]
    assert found[0] == ("DENY", "ALLOW")
    assert found[1] == ("REQUIRE_APPROVAL", "ALLOW")
    assert found[-1] == ("DENY", "DENY")
    assert set(found[2:4]) == {("ALLOW", "REQUIRE_APPROVAL"), ("ALLOW", "DENY")}


@given(st.lists(st.sampled_from(["crm/issue_refund", "payments/create_transfer", "x.y"]), max_size=30), st.randoms())
def test_every_decision_is_in_one_group_whatever_order_they_come_in(tools: list[str], order: random.Random):
    grouping = Grouping([policy(change(REFUND), change(TRANSFER))])
    results = [result(number, tools=[tool]) for number, tool in enumerate(tools)]
    shuffled = order.sample(results, len(results))
    first, second = grouped(grouping, results), grouped(grouping, shuffled)
    assert sum(group.count for group in first) == len(tools)
    assert [(group.key.id, group.count) for group in first] == [(group.key.id, group.count) for group in second]


def test_groups_of_a_sample_know_no_clause():
    told = {**result(), "fires_now": [], "no_longer": ["a.rule"], "count": 4, "examples": ["dec-1"]}
    [group] = groups_of_report({"groups": [told]})
    assert (group.count, group.key.no_longer, group.key.clauses) == (4, ("a.rule",), ())


def test_a_replay_on_the_own_policies_with_values_changed_names_what_was_asked_for():
    question = {"baseline": None, "candidate": {"changes": [f"{REFUND}=50", f"{TRANSFER}=5"]}}
    grouping = Grouping.of(question, {"policies": []})
    assert subjects(grouping, result()) == [REFUND]
    assert grouping.key(result()).clauses[0]["after"]["text"] == "50"
    assert subjects(Grouping.of({**question, "candidate": {"changes": []}}, {"policies": []}), result()) == []
