"""Texts before and after a model: what is asked, and what may be used of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aisecops.v1 import provenance_pb2, screen_service_pb2

from aisecops_client.answers import Answer
from aisecops_client.words import constant

ONE_PART = "text"
Texts = str | Mapping[str, str]


class TextHeldError(Exception):
    """The text may not be used: it was blocked, a person has to review it, or nothing was decided for real."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.explanation)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Screened(Answer):
    """A decision about texts, with what may be used of them."""

    detections: tuple[screen_service_pb2.Detection, ...] = ()
    parts: tuple[screen_service_pb2.ScreenedPart, ...] = field(default=(), repr=False)

    @property
    def text(self) -> str:
        """Return the text that may be used, redacted as policy wants it.

        Raises:
            TextHeldError: it may not be used, or there were several.
        """
        [only] = self.texts.values() if len(self.parts) == 1 else [None]
        if only is None:
            raise TextHeldError(self)
        return only

    @property
    def texts(self) -> dict[str, str]:
        """Return every text that may be used, by its part id.

        Raises:
            TextHeldError: they may not be used.
        """
        if not self.allowed:
            raise TextHeldError(self)
        return {part.part_id: part.text for part in self.parts}


def screen_request(
    texts: Texts,
    *,
    direction: str,
    kind: str = "",
    tool: str = "",
    trace_id: str = "",
    session_id: str = "",
    keep_text: bool = False,
    approval_id: str = "",
) -> screen_service_pb2.ScreenRequest:
    """Return the request for one text, or several by part id, that go in one direction.

    Raises:
        ValueError: there is no such direction or kind.
    """
    parts = {ONE_PART: texts} if isinstance(texts, str) else texts
    what = provenance_pb2.SOURCE_KIND_UNSPECIFIED
    if kind:
        what = constant(provenance_pb2.SourceKind, "SOURCE_KIND_", kind, "kind of source")
    return screen_service_pb2.ScreenRequest(
        direction=constant(screen_service_pb2.TextDirection, "TEXT_DIRECTION_", direction, "direction"),
        parts=[
            screen_service_pb2.TextPart(part_id=name, text=text, kind=what, tool=tool) for name, text in parts.items()
        ],
        trace_id=trace_id,
        session_id=session_id,
        keep_text=keep_text,
        approval_id=approval_id,
    )


def screened(response: screen_service_pb2.ScreenResponse, asked: Iterable[str]) -> Screened:
    """Return the answer in a response to a request about the parts ``asked``; parts it does not answer are held."""
    answered = tuple(response.parts)
    if [part.part_id for part in answered] != list(asked):
        answered = ()
    return Screened(
        response.decision,
        response.receipt,
        detections=tuple(response.detections),
        parts=answered,
        approval_id=response.approval_id,
    )
