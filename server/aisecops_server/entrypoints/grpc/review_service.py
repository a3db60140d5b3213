"""ReviewService: what people say about what a replay changes. Every word of theirs is an event of the log."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aisecops.v1 import review_service_pb2 as api

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.replays.flip_verdict import Judgement, Review, Verdict, Word
from aisecops_server.domain.replays.replay import ReplayId
from aisecops_server.entrypoints.grpc import access
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.usecases.reviews.judge_flips import JudgeFlips

_ID_CHARACTERS = 64
_JUDGEMENTS = {api.Judgement.Value(f"JUDGEMENT_{kind.name}"): kind for kind in Judgement}


@dataclass(frozen=True, slots=True)
class ReviewService:
    """The handlers of ``aisecops.v1.ReviewService``."""

    judge: JudgeFlips

    async def judge_flip(self, request: bytes, caller: Caller) -> api.JudgeFlipResponse:
        """Answer JudgeFlip."""
        asked = read_message(api.JudgeFlipRequest, request)
        if asked.judgement not in _JUDGEMENTS:
            raise InvalidRequestError("judgement: must be seen, expected or unexpected", field="judgement")
        for name in ("group_id", "decision_id"):
            if len(getattr(asked, name)) > _ID_CHARACTERS:
                raise InvalidRequestError(f"{name}: not an id", field=name)
        word = Word(_JUDGEMENTS[asked.judgement], asked.reason, caller.principal.id)
        said = await self.judge(_id(asked.replay_id), word, group_id=asked.group_id, decision_id=asked.decision_id)
        return api.JudgeFlipResponse(verdict=_verdict(said))

    async def review(self, request: bytes, caller: Caller) -> api.GetReviewResponse:
        """Answer GetReview; who does not read everything reads it of replays of their own decisions."""
        asked = read_message(api.GetReviewRequest, request)
        only_of = "" if access.reads_everything(caller.principal) else caller.principal.id
        return review_message(await self.judge.review(_id(asked.replay_id), only_of=only_of))


def review_message(review: Review) -> api.GetReviewResponse:
    """Return what was said about a replay."""
    return api.GetReviewResponse(
        verdicts=map(_verdict, review.verdicts),
        replaced=review.replaced,
        progress=[api.ReviewProgress(**asdict(one)) for one in review.progress],
    )


def _verdict(verdict: Verdict) -> api.FlipVerdict:
    return api.FlipVerdict(
        event_id=verdict.event_id,
        log_index=verdict.log_index,
        group_id=verdict.group_id,
        decision_id=verdict.decision_id,
        judgement=api.Judgement.Value(f"JUDGEMENT_{verdict.judgement.name}"),
        reason=verdict.reason,
        judged_by=verdict.judged_by,
        judged_at=timestamp(verdict.judged_at_ns),
    )


def _id(text: str) -> ReplayId:
    if not text or len(text) > _ID_CHARACTERS:
        raise InvalidRequestError("replay_id: not an id of a replay", field="replay_id")
    return ReplayId(text)
