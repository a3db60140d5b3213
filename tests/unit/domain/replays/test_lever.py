"""A lever changes a copy of the document, in any order, and never the document itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from aisecops_server.domain.replays.lever import Edit, Lever, LeverKind, altered, number_at, pointed, token

DOCUMENT: dict[str, Any] = {
    "plan": {"steps": [{"id": "a", "arguments": {"to/from": 1}}, {"id": "b"}, {"id": "c"}]},
    "sources": [],
    "environment": "production",
}


def lever(*edits: Edit, words: str = "x") -> Lever:
    return Lever(LeverKind.STEP, words, edits)


def test_what_is_taken_out_of_a_list_moves_nothing_that_is_still_to_be_taken_out() -> None:
    gone = [lever(Edit(f"/plan/steps/{at}", removes=True)) for at in (0, 2)]
    for levers in (gone, gone[::-1]):
        assert [step["id"] for step in altered(DOCUMENT, levers)["plan"]["steps"]] == ["b"]


def test_the_document_and_the_lever_stay_as_they_are() -> None:
    before = copy.deepcopy(DOCUMENT)
    found: list[Any] = [{"source": "s"}]
    made = altered(DOCUMENT, [lever(Edit("/sources", found), Edit("/sources/-", {"source": "t"}))])
    assert (DOCUMENT, found) == (before, [{"source": "s"}])
    assert made["sources"] == [{"source": "s"}, {"source": "t"}]


def test_places_are_read_and_written_as_rfc_6901_says() -> None:
    place = f"/plan/steps/0/arguments/{token('to/from')}"
    assert number_at(DOCUMENT, place) == 1
    assert altered(DOCUMENT, [lever(Edit(place, 2))])["plan"]["steps"][0]["arguments"] == {"to/from": 2}


@pytest.mark.parametrize(
    "edit",
    [Edit("/nowhere/x", 1), Edit("/plan/steps/9", 1), Edit("/plan/steps/9", removes=True), Edit("/x", removes=True)],
)
def test_a_place_that_is_not_there_changes_nothing(edit: Edit) -> None:
    assert altered(DOCUMENT, [lever(edit)]) == DOCUMENT
    assert pointed(DOCUMENT, "/plan/steps/9/id") is None


def test_another_number_stands_in_the_words_too() -> None:
    first = lever(Edit("/x", 10), words="amount of 10/pay were 10")
    assert first.with_number(7) == lever(Edit("/x", 7), words="amount of 10/pay were 7")
    assert lever(Edit("/x", value=True)).number is None
    assert lever(Edit("/x", 1), Edit("/y", 2)).number is None
