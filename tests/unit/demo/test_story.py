from __future__ import annotations

import io

import pytest
from aisecops.v1 import provenance_pb2
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.demo.answers import Answer, flips, problems
from aisecops_server.demo.change import AMOUNTS, TABLE, TableChangedError, edited
from aisecops_server.demo.scenario import scenarios
from aisecops_server.demo.screen import Screen, decision_group, flip_group, summary_table
from aisecops_server.terminal.consoles import make_console

CAST = scenarios()
AMOUNT = {
    "rule": "approval.amount_over_limit",
    "message": "The amount is above what the agent may move.",
    "effect": "EFFECT_REQUIRE_APPROVAL",
    "stepId": "pay",
}

FLIP = {
    "result": {
        "verdictClass": "VERDICT_CLASS_OUTCOME_FLIP",
        "before": "OUTCOME_REQUIRE_APPROVAL",
        "after": "OUTCOME_ALLOW",
        "direction": "DIRECTION_LOOSER",
    },
    "rules": [{"rule": "approval.amount_over_limit", "firesNow": False, "message": "Too much."}],
    "causes": [
        {
            "change": {
                "kind": "ROW_CHANGED",
                "subject": "a.b",
                "clause": "",
                "before": {"file": "data/a.yaml", "line": 7, "text": "1"},
                "after": {"file": "data/a.yaml", "line": 7, "text": "2"},
            }
        }
    ],
    "smallest": {"found": True, "words": "If amount were 2", "outcome": "OUTCOME_REQUIRE_APPROVAL"},
}


def answered(outcome: str, *, index: int, revision: str = "a" * 40, findings: tuple[object, ...] = ()) -> Answer:
    return Answer(
        scenario=next(scenario for scenario in CAST if scenario.id == "pay-over-limit"),
        decision={
            "outcome": f"OUTCOME_{outcome}",
            "mode": "MODE_ENFORCE",
            "bundleRevision": revision,
            "engineVersion": "1.22.2",
            "evaluation": "0.001500s",
            "findings": list(findings),
            "steps": [{"stepId": "pay", "outcome": f"OUTCOME_{outcome}", "capability": "payment.send"}],
            "sources": [],
        },
        receipt={"logIndex": str(index)},
        seconds=0.0042,
    )


def test_the_cast_hears_from_every_kind_of_source() -> None:
    heard = {source.kind for scenario in CAST for source in scenario.plan.sources}
    assert heard == {number for number in provenance_pb2.SourceKind.values() if number}


def test_the_cast_has_hijacked_and_honest_plans_with_one_and_with_many_steps() -> None:
    assert len({scenario.agent for scenario in CAST}) >= 5
    assert {bool(scenario.hijacked_by) for scenario in CAST} == {True, False}
    assert {len(scenario.plan.steps) > 1 for scenario in CAST} == {True, False}
    assert len({scenario.id for scenario in CAST}) == len(CAST)


def test_every_hijacked_plan_is_expected_to_be_blocked_in_both_rounds() -> None:
    expected = {(item.expected_first, item.expected_then) for item in CAST if item.hijacked_by}
    assert expected == {("DENY", "DENY")}


def test_the_change_edits_two_amounts_of_the_shipped_table_and_nothing_else() -> None:
    before = shipped_policy()[TABLE].decode()
    changed = [
        (old.strip(), new.strip())
        for old, new in zip(before.splitlines(), edited(before).splitlines(), strict=True)
        if old != new
    ]
    assert [new for _, new in changed] == [f"amount_over: {amount}" for amount in AMOUNTS.values()]


def test_a_table_without_the_entries_is_not_edited_in_silence() -> None:
    with pytest.raises(TableChangedError, match="crm/issue_refund"):
        edited("approvers_required: 1\n")


def test_looser_flips_come_first() -> None:
    looser = (answered("REQUIRE_APPROVAL", index=1, findings=(AMOUNT,)), answered("ALLOW", index=3))
    stricter = (answered("ALLOW", index=0), answered("DENY", index=2, findings=(AMOUNT,)))
    found = flips([stricter[0], looser[0]], [stricter[1], looser[1]])
    assert [flip.is_looser for flip in found] == [True, False]


def test_the_self_check_tells_a_wrong_outcome_and_a_log_that_does_not_rise() -> None:
    right = [answered("REQUIRE_APPROVAL", index=1)], [answered("ALLOW", index=2)]
    assert problems(*right) == []
    assert problems([answered("ALLOW", index=1)], [answered("ALLOW", index=2)]) == [
        "pay-over-limit: REQUIRE_APPROVAL was expected in the first round, ALLOW came"
    ]
    assert problems([answered("REQUIRE_APPROVAL", index=2)], [answered("ALLOW", index=1)]) == [
        "the receipts do not rise in the log"
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_drawn_fits_and_comes_from_the_answer(width: int) -> None:
    stream = io.StringIO()
    console = make_console(stream, color="never")
    console.width = width
    before, after = answered("REQUIRE_APPROVAL", index=1, findings=(AMOUNT,)), answered("ALLOW", index=2)
    console.print(decision_group(console, before))
    console.print(summary_table(console, [before, after]))
    console.print(flip_group(console, FLIP, "Pay a supplier"))
    shown = stream.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    flat = " ".join(shown.split())
    for part in ("▲ escalated", "4.2 ms", "aaaaaaaa on OPA 1.22.2, evaluated in 1.5 ms", "looser", "no longer fires"):
        assert part in flat
    assert "a.b 1 → 2" in flat
    assert "If amount were 2: ▲ escalated" in flat


def test_commands_are_never_wrapped_so_that_they_can_be_copied() -> None:
    stream = io.StringIO()
    console = make_console(stream, color="never")
    console.width = 40
    line = "aisecops decide -f " + "x" * 80
    Screen(console, 0).commands([(line, "why")])
    assert f"  {line}\n" in stream.getvalue()
