from __future__ import annotations

import pytest
from aisecops_server.domain.decisions.held_lines import Mark, held_lines

RULE = "rego/aisecops/rules/a/b/b.rego"


def trace(*events: tuple[int, int, str]) -> str:
    return "\n".join(f"/aisecops/rules/a/b/b.rego:{line}    {'| ' * depth}{told}" for line, depth, told in events)


def marks(*events: tuple[int, int, str]) -> dict[int, Mark]:
    found = held_lines(trace(*events))
    assert {file for file, _ in found} <= {RULE}
    return {line: mark for (_, line), mark in found.items()}


def test_a_line_held_when_it_was_true_for_one_of_the_things_that_it_was_tried_on() -> None:
    twice = ((4, 3, "Eval neq(x, 1)"), (4, 3, "Fail neq(x, 1)"), (4, 3, "Eval neq(x, 1)"))
    assert marks(*twice) == {4: Mark.HELD}
    assert marks(*twice, (4, 3, "Fail neq(x, 1)")) == {4: Mark.FAILED}


def test_every_expression_of_a_line_has_to_hold() -> None:
    held = (7, 2, "Eval __local1__ = input.amount")
    assert marks(held, (7, 2, "Eval gt(__local1__, 5)"), (7, 2, "Fail gt(__local1__, 5)")) == {7: Mark.FAILED}


@pytest.mark.parametrize("holds", [True, False])
def test_what_a_negation_asks_says_the_contrary_of_its_line(*, holds: bool) -> None:
    asked = [(5, 2, "Eval not data.aisecops.lib.known"), (5, 2, "Enter data.aisecops.lib.known")]
    asked += [(5, 3, "Eval data.aisecops.lib.known")]
    asked += [(5, 3, "Fail data.aisecops.lib.known")] if holds else [(5, 3, "Exit data.aisecops.lib.known")]
    asked += [] if holds else [(5, 2, "Fail not data.aisecops.lib.known")]
    assert marks(*asked) == {5: Mark.HELD if holds else Mark.FAILED}


def test_the_head_of_a_clause_held_when_the_clause_gave_something() -> None:
    entered = (3, 1, "Enter data.aisecops.rules.a.b.findings")
    assert marks(entered) == {3: Mark.FAILED}
    assert marks(entered, (3, 2, "Exit data.aisecops.rules.a.b.findings early")) == {3: Mark.HELD}


def test_annotations_that_the_compiler_moved_are_no_event_of_their_line() -> None:
    moved = '{"path": ["aisecops", "rules"]}'
    assert marks((9, 2, f"Eval __local3__ = [{moved}]")) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "query:1     | Eval data.aisecops.decision",
        "nothing of the kind",
        '/aisecops/x.rego:2  | Note "\\n/aisecops/x.rego:3 | Eval input.x"',
    ],
)
def test_what_is_no_event_marks_nothing(text: str) -> None:
    assert held_lines(text) == {}


def test_a_value_of_the_document_cannot_look_like_an_event() -> None:
    forged = '"x\\n/aisecops/rules/a/b/b.rego:30    | Fail input.y"'
    assert marks((4, 1, f"Eval x = {forged}")) == {4: Mark.HELD}
