"""The review of a replay: what people said about its groups and decisions, and the form with which they say it.

What somebody has seen is kept where verdicts are, as a word of theirs in the log, and not in the address or the
browser: a tick then follows a reviewer to every machine, others see how far they are, and whoever approves a change of
policy later can tell that somebody looked. It costs one small event a tick, written once; to look alone writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops.v1 import review_service_pb2 as api

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.web.addresses import address
from aisecops_server.entrypoints.web.visitor import Away, Visitor

_JUDGEMENTS: Mapping[str, api.Judgement.ValueType] = {
    "seen": api.JUDGEMENT_SEEN,
    "expected": api.JUDGEMENT_EXPECTED,
    "unexpected": api.JUDGEMENT_UNEXPECTED,
}
_WORDS = {value: word for word, value in _JUDGEMENTS.items()}
_TONES = {"seen": "dim", "expected": "s-allowed", "unexpected": "s-blocked"}


@dataclass(frozen=True, slots=True)
class Said:
    """What was said about a replay, seen by one of its readers. ``groups`` counts all groups."""

    review: api.GetReviewResponse
    reader: str
    groups: int

    def of_group(self, group_id: str) -> Sequence[api.FlipVerdict]:
        """Return the words on a group as a whole."""
        return [one for one in self.review.verdicts if one.group_id == group_id and not one.decision_id]

    def of_decision(self, decision_id: str) -> Sequence[api.FlipVerdict]:
        """Return the words on one decision."""
        return [one for one in self.review.verdicts if decision_id and one.decision_id == decision_id]

    @property
    def ticked(self) -> frozenset[str]:
        """Return the decisions on which the reader has a word."""
        return frozenset(one.decision_id for one in self.review.verdicts if one.judged_by == self.reader)

    def is_seen(self, group_id: str) -> bool:
        """Return whether the reader saw or judged a group."""
        return any(one.judged_by == self.reader for one in self.of_group(group_id))

    @property
    def seen(self) -> int:
        """Return how many groups the reader saw or judged."""
        return next((one.seen for one in self.review.progress if one.reviewer == self.reader), 0)

    @property
    def others(self) -> Sequence[api.ReviewProgress]:
        """Return how far everybody else is."""
        return [one for one in self.review.progress if one.reviewer != self.reader]


async def said_of(visitor: Visitor, replay_id: str, *, groups: int) -> Said:
    """Return what was said about a replay."""
    request = api.GetReviewRequest(replay_id=replay_id)
    found = await visitor.ask("ReviewService/GetReview", request, api.GetReviewResponse)
    return Said(found, visitor.principal.id, groups)


async def judge(visitor: Visitor) -> Away:
    """Say something about a group, or about one decision of it, and go back to it."""
    word = visitor.form.get("judgement", "")
    if word not in _JUDGEMENTS:
        raise InvalidRequestError(f"judgement is one of {', '.join(_JUDGEMENTS)}", field="judgement")
    group, decision = visitor.form.get("group", ""), visitor.form.get("decision", "")
    request = api.JudgeFlipRequest(
        replay_id=visitor.path("replay"), judgement=_JUDGEMENTS[word], reason=visitor.form.get("reason", "").strip()
    )
    if visitor.form.get("about", "") == "decision":
        request.decision_id = decision
    else:
        request.group_id = group
    await visitor.ask("ReviewService/JudgeFlip", request, api.JudgeFlipResponse)
    return Away(address(f"/replays/{request.replay_id}", group=group, change=decision))


def judgement_word(verdict: api.FlipVerdict) -> str:
    """Return what a reviewer said, such as ``expected``."""
    return _WORDS.get(verdict.judgement, "unknown")


def judgement_tone(verdict: api.FlipVerdict) -> str:
    """Return how that looks."""
    return _TONES.get(judgement_word(verdict), "dim")
