from __future__ import annotations

import json

from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.replays.comparison import Comparison, Firing, compare, indeterminate
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.domain.replays.replay import VerdictClass
from aisecops_server.domain.replays.replay_report import Group, Tallies


def decision(number: int, agent: str = "agent-a", tool: str = "mail/send") -> RecordedDecision:
    details = {"decision_id": f"dec-{number}", "principal": {"id": agent}, "bundle_revision": "1" * 40}
    return RecordedDecision(number, details, b"", {"plan": {"steps": [{"tool": tool}, {"tool": "crm/read"}]}})


def flip(before: str, after: str, rule: str = "a.rule") -> Comparison:
    found = [{"rule": rule, "step": "", "effect": "deny"}]
    return compare(
        {"outcome": before, "findings": found if before == "DENY" else [], "steps": []},
        {"outcome": after, "findings": found if after == "DENY" else [], "steps": []},
    )


SAME = Comparison(VerdictClass.SAME, "ALLOW", "ALLOW")


def report(tallies: Tallies) -> dict[str, object]:
    return tallies.report(sampled=False, selected=tallies.compared, compared=tallies.compared)


def test_every_decision_is_counted_in_exactly_one_class():
    tallies = Tallies()
    for number, compared in enumerate([SAME, flip("DENY", "ALLOW"), flip("ALLOW", "DENY"), indeterminate("DENY", "x")]):
        tallies.add(decision(number), compared)
    made = report(tallies)
    assert {entry["verdict_class"]: entry["count"] for entry in made["classes"]} == {
        "SAME": 1,
        "OUTCOME_FLIP": 2,
        "REASON_ONLY": 0,
        "OBLIGATION_CHANGE": 0,
        "ERROR": 0,
        "INDETERMINATE": 1,
    }
    assert (made["looser"], made["stricter"], made["risky"], made["compared"]) == (1, 1, 1, 4)
    assert made["rules"] == [{"rule": "a.rule", "fires_now": 1, "no_longer": 1}]


def test_flips_are_told_by_agent_and_tool_with_what_they_are_a_part_of():
    tallies = Tallies()
    tallies.add(decision(1, "agent-a"), SAME)
    tallies.add(decision(2, "agent-b", "pay/send"), flip("DENY", "ALLOW"))
    made = report(tallies)
    assert made["agents"] == [
        {"agent_id": "agent-a", "compared": 1, "looser": 0, "stricter": 0, "other": 0},
        {"agent_id": "agent-b", "compared": 1, "looser": 1, "stricter": 0, "other": 0},
    ]
    assert made["tools"][0] == {"tool": "crm/read", "compared": 2, "looser": 1, "stricter": 0, "other": 0}


def test_what_lets_most_through_stands_first():
    tallies = Tallies()
    for number, (before, after) in enumerate(
        [("ALLOW", "DENY"), ("REQUIRE_APPROVAL", "ALLOW"), ("DENY", "ALLOW"), ("DENY", "REQUIRE_APPROVAL")]
    ):
        tallies.add(decision(number), flip(before, after))
    made = report(tallies)
    assert [(entry["before"], entry["after"]) for entry in made["transitions"]] == [
        ("DENY", "ALLOW"),
        ("DENY", "REQUIRE_APPROVAL"),
        ("REQUIRE_APPROVAL", "ALLOW"),
        ("ALLOW", "DENY"),
    ]
    assert made["groups"][0]["before"] == "DENY"
    assert made["groups"][0]["after"] == "ALLOW"


def test_groups_keep_the_first_examples_however_the_parts_were_cut():
    whole, parts = Tallies(), [Tallies() for _ in range(4)]
    for number in range(40):
        compared = flip("DENY", "ALLOW", f"a.rule{number % 3}") if number % 2 else SAME
        whole.add(decision(number, f"agent-{number % 5}"), compared)
        parts[number // 10].add(decision(number, f"agent-{number % 5}"), compared)
    joined = Tallies()
    for part in parts:
        joined.merge(Tallies.from_json(json.loads(canonical_bytes(part.as_json()))))
    assert canonical_bytes(report(joined)) == canonical_bytes(report(whole))
    assert all(len(group["examples"]) == 3 for group in report(whole)["groups"])


def test_a_sample_counts_what_its_decisions_stand_for():
    tallies = Tallies()
    tallies.add(decision(1), flip("DENY", "ALLOW"), weight=2.5)
    tallies.add(decision(2), SAME, weight=97.5)
    made = tallies.report(sampled=True, selected=100, compared=2)
    assert made["sampled"]
    assert (made["selected"], made["compared"], made["looser"]) == (100, 2, 2)


def test_groups_beyond_what_anybody_reads_are_counted():
    tallies = Tallies(
        groups={("OUTCOME_FLIP", "DENY", "ALLOW", f"r.{n}", "", "", ""): Group(1, ["d"]) for n in range(250)}
    )
    made = report(tallies)
    assert (len(made["groups"]), made["groups_left_out"]) == (200, 50)


def test_rules_are_named_once_however_many_steps_they_fired_on():
    tallies = Tallies()
    firings = (Firing("a.rule", "s1", "deny"), Firing("a.rule", "s2", "deny"))
    tallies.add(decision(1), Comparison(VerdictClass.OUTCOME_FLIP, "ALLOW", "DENY", fires_now=firings))
    assert report(tallies)["rules"] == [{"rule": "a.rule", "fires_now": 1, "no_longer": 0}]
