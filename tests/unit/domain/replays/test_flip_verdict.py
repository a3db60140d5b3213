from __future__ import annotations

from typing import Any

from aisecops_server.domain.events.event import EventId, StoredEvent
from aisecops_server.domain.replays.flip_groups import FlipGroup, Grouping
from aisecops_server.domain.replays.flip_verdict import (
    Judgement,
    Verdict,
    Word,
    is_about,
    review_of,
    verdict_event,
    verdict_of,
)
from aisecops_server.domain.replays.replay import ReplayId, ReplayRecord, ReplayState
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.replays.test_flip_groups import REFUND, TRANSFER, change, policy, result

ANN, BOB = "ann@corp.example", "bob@corp.example"
SEEN, EXPECTED, UNEXPECTED = Judgement


def said(at: int, judgement: Judgement, by: str = ANN, group: str = "grp-1", decision: str = "") -> Verdict:
    return Verdict(group, decision, judgement, "because", by, at, EventId(f"evt-{at}"), at)


def stored(decision_id: str = "", **word: Any) -> StoredEvent:
    candidate = {"name": "main", "revision": "c" * 40, "changes": [], "engine": "x"}
    record = ReplayRecord(ReplayId("rpl-1"), {"candidate": candidate}, ReplayState.DONE, ANN, 1)
    group = FlipGroup(Grouping([policy(change(REFUND), change(TRANSFER))]).key(result()), 3)
    spoken = Word(**{"judgement": UNEXPECTED, "reason": "no ticket", "principal": ANN, **word})
    event = verdict_event(record, group, decision_id, spoken, id=EventId("evt-1"), now_ns=5_000)
    return StoredEvent(event, 7, b"")


def test_an_event_says_by_itself_what_was_judged_and_is_read_back():
    event = stored("dec-1")
    details = event.event.details()
    assert details["candidate"] == {"name": "main", "revision": "c" * 40, "changes": []}
    assert details["about"]["clauses"] == [
        {"kind": "ROW_CHANGED", "subject": REFUND, "clause": "", "file": "data/x.yaml", "line": 7}
    ]
    assert (details["about"]["before"], details["about"]["after"], details["about"]["count"]) == ("DENY", "ALLOW", 3)
    verdict = verdict_of(event)
    assert (verdict.judgement, verdict.reason, verdict.judged_by) == (UNEXPECTED, "no ticket", ANN)
    assert (verdict.decision_id, verdict.log_index, verdict.judged_at_ns) == ("dec-1", 7, 5_000)


def test_a_reason_cannot_pass_an_event_off_as_one_about_another_replay():
    event = stored(reason='","replay_id":"rpl-2"}')
    assert is_about(event, ReplayId("rpl-1"))
    assert not is_about(event, ReplayId("rpl-2"))
    assert b'"replay_id":"rpl-2"' not in event.event.body


def test_the_last_word_of_each_reviewer_stands_and_seen_takes_nothing_back():
    review = review_of(
        [said(0, SEEN), said(1, EXPECTED), said(2, UNEXPECTED, BOB), said(3, UNEXPECTED), said(4, SEEN)], groups=2
    )
    assert [(one.judged_by, one.judgement) for one in review.verdicts] == [(BOB, UNEXPECTED), (ANN, UNEXPECTED)]
    assert review.replaced == 3


def test_a_word_on_one_decision_is_none_on_its_group():
    review = review_of([said(0, EXPECTED, decision="dec-1"), said(1, SEEN, group="grp-2")], groups=12)
    assert len(review.verdicts) == 2
    [ann] = review.progress
    assert (ann.seen, ann.expected, ann.unexpected, ann.groups) == (1, 0, 0, 12)


@given(
    st.lists(
        st.tuples(st.sampled_from(Judgement), st.sampled_from([ANN, BOB]), st.sampled_from(["grp-1", "grp-2", "grp-3"]))
    )
)
def test_who_has_seen_what_is_counted_once_whatever_was_said_how_often(words: list[tuple[Judgement, str, str]]):
    review = review_of([said(at, *word) for at, word in enumerate(words)], groups=3)
    assert len(review.verdicts) + review.replaced == len(words)
    for one in review.progress:
        assert one.seen == len({group for _, by, group in words if by == one.reviewer}) <= one.groups
        assert one.expected + one.unexpected <= one.seen
