"""ScreenService: reads texts strictly, hands them to the use case, and writes its answer.

A refused request is recorded before its error is returned, without its texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops.v1 import decision_pb2, provenance_pb2
from aisecops.v1 import screen_service_pb2 as api

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.identifiers import is_identifier, is_trace_id
from aisecops_server.domain.plans.provenance import SourceKind, TrustLevel
from aisecops_server.domain.screening.text_parts import (
    PartDraft,
    Screening,
    ScreeningDraft,
    TextDirection,
    build_screening,
)
from aisecops_server.entrypoints.grpc.admission import WorkQueue
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import SignReceipt, decision_message, receipt_message
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.ports import Ids
from aisecops_server.usecases.decisions.screen import Screen, ScreenCommand, Screened

# What it takes to read a text grows with its size.
_BYTES_PER_WEIGHT = 8 * 1024
_ONE_PART = "text"
_DIRECTIONS: dict[int, TextDirection] = {
    api.TextDirection.Value(f"TEXT_DIRECTION_{way.name}"): way for way in TextDirection
}
_KINDS: dict[int, SourceKind | None] = {0: None} | {
    provenance_pb2.SourceKind.Value(f"SOURCE_KIND_{kind.name}"): kind for kind in SourceKind
}
_TRUST: dict[int, TrustLevel | None] = {0: None} | {
    provenance_pb2.TrustLevel.Value(f"TRUST_LEVEL_{level.name}"): level for level in TrustLevel
}
_OUTCOMES = {name.removeprefix("OUTCOME_"): number for name, number in decision_pb2.Outcome.items()}


@dataclass(frozen=True, slots=True)
class ScreenService:
    """The handlers of ``aisecops.v1.ScreenService``."""

    screen: Screen
    ids: Ids
    work: WorkQueue
    sign: SignReceipt

    async def screen_texts(self, request: bytes, caller: Caller) -> api.ScreenResponse:
        """Answer Screen."""
        weight = 1 + len(request) // _BYTES_PER_WEIGHT
        async with self.work.turn(caller.principal, weight=weight, seconds=caller.seconds):
            trace_id = ""
            try:
                asked = read_message(api.ScreenRequest, request)
                trace_id = asked.trace_id
                screening = self._screening(asked)
            except InvalidRequestError as error:
                await self.screen.refuse(caller.principal, error, trace_id=trace_id if is_trace_id(trace_id) else "")
                raise
            command = ScreenCommand(caller.principal, screening, asked.approval_id)
            return screen_response(await self.screen(command), self.sign)

    def _screening(self, asked: api.ScreenRequest) -> Screening:
        if asked.approval_id and not is_identifier(asked.approval_id):
            raise InvalidRequestError("approval_id: not an approval id", field="approval_id")
        if asked.text and asked.parts:
            raise InvalidRequestError("parts: come besides text", hint="Send one text, or parts", field="parts")
        parts = [_part(part, index) for index, part in enumerate(asked.parts)] or [PartDraft(_ONE_PART, asked.text)]
        draft = ScreeningDraft(
            direction=_DIRECTIONS.get(asked.direction),
            parts=tuple(parts),
            trace_id=asked.trace_id,
            session_id=asked.session_id,
            keep_text=asked.keep_text,
        )
        return build_screening(draft, self.ids.trace_id())


def screen_response(screened: Screened, sign: SignReceipt) -> api.ScreenResponse:
    """Return the answer to a request."""
    fields: Mapping[str, Any] = screened.details
    return api.ScreenResponse(
        decision=decision_message(screened.details),
        receipt=receipt_message(screened.receipt, sign),
        parts=[
            api.ScreenedPart(
                part_id=part["id"],
                outcome=_OUTCOMES[step["outcome"]],
                text=screened.texts.get(part["id"], ""),
                digest=part["digest"],
            )
            for part, step in zip(fields["screening"]["parts"], fields["steps"], strict=True)
        ],
        approval_id=str(screened.details.get("approval_id", "")),
        detections=_detections(fields["screening"]["parts"]),
    )


def _detections(parts: Sequence[Mapping[str, Any]]) -> list[api.Detection]:
    return [api.Detection(part_id=part["id"], **detection) for part in parts for detection in part["detections"]]


def _part(part: api.TextPart, index: int) -> PartDraft:
    if part.kind not in _KINDS:
        raise _unknown(f"parts[{index}].kind", part.kind)
    if part.declared_trust not in _TRUST:
        raise _unknown(f"parts[{index}].declared_trust", part.declared_trust)
    return PartDraft(
        id=part.part_id,
        text=part.text,
        kind=_KINDS[part.kind],
        tool=part.tool,
        declared_trust=_TRUST[part.declared_trust],
    )


def _unknown(field: str, number: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"{field}: has the value {number}, which this version does not know",
        hint="Send a value that proto/aisecops/v1 lists",
        field=field,
    )
