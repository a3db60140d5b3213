"""Parts of a replay as bytes: there and back, and what is none is refused."""

from __future__ import annotations

import pytest
from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.replays.recorded_decision import Place
from aisecops_server.domain.replays.replay import Question, Selection, Side
from aisecops_server.domain.replays.replay_part import PartAsked, PartFound
from aisecops_server.domain.replays.replay_part_json import (
    answer_bytes,
    asked_bytes,
    failure_bytes,
    read_answer,
    read_asked,
)
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(max_size=8)
COUNTS = st.integers(0, 2**53 - 1)
SIDES = st.builds(Side, TEXT, revision=TEXT, digest=TEXT, engine=TEXT, changes=st.lists(TEXT, max_size=2).map(tuple))
QUESTIONS = st.builds(
    Question,
    selection=st.builds(
        Selection, agent_id=TEXT, from_micros=COUNTS, trace_ids=st.tuples(TEXT), query=st.sampled_from(["", "tool:a/*"])
    ),
    candidate=SIDES,
    head=st.builds(LogHead, COUNTS, st.binary(min_size=32, max_size=32)),
    baseline=st.none() | SIDES,
)
PLACES = st.builds(Place, COUNTS, COUNTS, st.binary(min_size=32, max_size=32))
TREES = st.builds(
    PolicyTree, TEXT.map(CommitId), st.dictionaries(TEXT, st.binary(max_size=8), max_size=2), st.frozensets(TEXT)
)
ASKED = st.builds(
    PartAsked,
    QUESTIONS,
    st.lists(PLACES, min_size=1, max_size=3).map(tuple),
    anew=st.booleans(),
    drafts=st.lists(TREES, max_size=1).map(tuple),
)


@given(ASKED)
def test_what_is_asked_arrives_as_it_was_asked(asked: PartAsked) -> None:
    arrived = read_asked(asked_bytes(asked))
    assert arrived == asked
    assert (arrived.key, arrived.question.replay_id) == (asked.key, asked.question.replay_id)


@given(ASKED, st.binary(min_size=32, max_size=32))
def test_another_decision_is_another_part(asked: PartAsked, leaf: bytes) -> None:
    first, *rest = asked.places
    other = PartAsked(asked.question, (Place(first.trace, first.index, leaf), *rest))
    assert (other.key == asked.key) == (leaf == first.leaf_hash)


def test_an_answer_is_sums_or_a_problem_and_nothing_else() -> None:
    found = PartFound({"counts": [], "groups": []}, [{"decision_id": "dec-1"}], evaluated=1, transient=False)
    assert read_answer(answer_bytes(found)) == found
    assert read_answer(failure_bytes("no engine")) == "no engine"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\x80\x04", b'{"sums":[],"results":[]}', b'{"sums":{},"results":{}}', b"null"]
)
def test_what_is_no_answer_is_refused(content: bytes) -> None:
    with pytest.raises((InvalidPlanError, KeyError, TypeError, ValueError)):
        read_answer(content)
