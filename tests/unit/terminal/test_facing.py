from __future__ import annotations

import io
from typing import Any

import pytest
from aisecops_server.terminal.facing import facing_lines
from rich.console import Console


def line(before: tuple[int, str, str] | None, after: tuple[int, str, str] | None, **told: bool) -> dict[str, Any]:
    sides = {"before": before, "after": after}
    found = {name: dict(zip(("number", "text", "mark"), side, strict=True)) for name, side in sides.items() if side}
    return {**found, "changed": False, "concerns": False, **told}


def sides(**told: object) -> dict[str, Any]:
    held = line((23, "\tnot within(x)", "FAILED"), (23, "\tnot within(x)", "HELD"))
    changed = [line((14, "over: 100", ""), None, changed=True), line(None, (14, "over: 50", ""), changed=True)]
    beside = [line((2, "old", ""), (2, "new", ""), changed=True)]
    parts = [{"lines": [held, *changed], "concerns": True}, {"lines": beside, "concerns": False}]
    file = {"beforeFile": "rego/a.rego", "afterFile": "rego/a.rego", "parts": parts, "byValue": False}
    return {
        "files": [file],
        "elsewhere": "1",
        "elsewhereWeight": "DID_NOT_MATTER",
        "unmarkedBecause": "",
        **told,
    }


def drawn(told: dict[str, Any], *, elsewhere: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100, legacy_windows=False, color_system=None)
    with console.capture() as capture:
        for part in facing_lines(console, told, elsewhere=elsewhere):
            console.print(part)
    return capture.get()


def test_a_line_has_its_number_and_what_became_of_it_on_both_sides() -> None:
    told = drawn(sides()).splitlines()
    assert told[0] == "rego/a.rego"
    assert [part.split() for part in told[1:4]] == [
        ["23✕", "23✓", "not", "within(x)"],
        ["14", "-", "over:", "100"],
        ["14", "+", "over:", "50"],
    ]


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("DID_NOT_MATTER", "1 line changed elsewhere did not matter here"),
        ("MATTERED", "1 line changed elsewhere, and the decision is not the same without"),
        ("NOT_TESTED", "whether that matters here could not be tried alone"),
    ],
)
def test_what_changed_elsewhere_is_told_as_far_as_it_is_known(weight: str, words: str) -> None:
    assert words in drawn(sides(elsewhereWeight=weight))


def test_what_changed_elsewhere_is_shown_when_it_is_asked_for() -> None:
    assert "+ new" not in drawn(sides())
    assert "+ new" in drawn(sides(), elsewhere=True)


def test_that_no_line_is_marked_is_said_with_its_reason() -> None:
    assert "which lines held is not known: no engine" in drawn(sides(unmarkedBecause="no engine"))


def test_without_both_policies_nothing_is_drawn() -> None:
    assert drawn({}) == ""
