"""The texts that somebody wants screened: what they may be, and what is known of each before anybody judges it.

A draft is neutral and unchecked. Whatever ``build_screening`` returns is well formed; whatever is not is refused with
the name of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.formats.identifiers import is_identifier, is_tool, is_trace_id
from aisecops_server.domain.plans.plan import SessionId, TraceId
from aisecops_server.domain.plans.provenance import SourceKind, TrustLevel
from aisecops_server.domain.screening.detection import PRIVATE_KINDS, Detection
from aisecops_server.domain.screening.inspection import inspect
from aisecops_server.domain.screening.redaction import Redaction, mask, redacted

# Of all parts together. The slowest text of this length that we know takes half a second.
MOST_CHARACTERS = 128 * 1024
MOST_PARTS = 64


class TextDirection(StrEnum):
    """Which way a text goes."""

    PROMPT = "prompt"
    INPUT = "input"
    TOOL_RESULT = "tool_result"
    OUTPUT = "output"


# What a text that goes some way usually is.
_USUAL_KIND = {
    TextDirection.PROMPT: SourceKind.USER_PROMPT,
    TextDirection.INPUT: SourceKind.RETRIEVAL_CHUNK,
    TextDirection.TOOL_RESULT: SourceKind.TOOL_RESULT,
    TextDirection.OUTPUT: SourceKind.AGENT_MESSAGE,
}


@dataclass(frozen=True, slots=True)
class PartDraft:
    """One text, unchecked. Without a kind it is what usually goes that way."""

    id: str
    text: str
    kind: SourceKind | None = None
    tool: str = ""
    declared_trust: TrustLevel | None = None


@dataclass(frozen=True, slots=True)
class ScreeningDraft:
    """What somebody wants screened, unchecked."""

    direction: TextDirection | None
    parts: tuple[PartDraft, ...]
    trace_id: str = ""
    session_id: str = ""
    keep_text: bool = False


@dataclass(frozen=True, slots=True)
class TextPart:
    """One text. ``tool`` returned it, if a tool did."""

    id: str
    text: str
    kind: SourceKind
    tool: str
    declared_trust: TrustLevel | None


@dataclass(frozen=True, slots=True)
class Screening:
    """Texts that go one way together. ``keep_text``: they are to stand in the record, without what is private."""

    trace_id: TraceId
    session_id: SessionId
    direction: TextDirection
    parts: tuple[TextPart, ...]
    keep_text: bool

    @property
    def characters(self) -> int:
        """Return how much text there is to read."""
        return sum(len(part.text) for part in self.parts)


@dataclass(frozen=True, slots=True)
class ReadPart:
    """One text with what was seen in it.

    ``masked`` is the text with a stand-in for everything private in it, and ``digest`` is that of ``masked``: a digest
    of a short secret would give it away. Both are empty when not everything private could be told.
    """

    part: TextPart
    detections: tuple[Detection, ...]
    complete: bool
    masked: str
    digest: str


def build_screening(draft: ScreeningDraft, fresh: TraceId) -> Screening:
    """Return the screening that ``draft`` describes; ``fresh`` is its trace id if it has none.

    Raises:
        InvalidRequestError: the draft breaks the contract; ``metadata()["field"]`` names where.
    """
    if draft.direction is None:
        raise _refusal("direction", "does not say which way the text goes")
    if draft.trace_id and not is_trace_id(draft.trace_id):
        raise _refusal("trace_id", "not a trace id: 32 lower-case hexadecimal digits")
    if draft.session_id and not is_identifier(draft.session_id):
        raise _refusal("session_id", "not an identifier: 1 to 64 of [A-Za-z0-9_.:-]")
    return Screening(
        trace_id=TraceId(draft.trace_id) if draft.trace_id else fresh,
        session_id=SessionId(draft.session_id),
        direction=draft.direction,
        parts=_parts(draft.parts, draft.direction),
        keep_text=draft.keep_text,
    )


def read_part(part: TextPart) -> ReadPart:
    """Return what the detectors see in a text."""
    seen = inspect(part.text)
    if not seen.complete:
        return ReadPart(part, seen.detections, complete=False, masked="", digest="")
    private = (one for one in seen.detections if one.kind in PRIVATE_KINDS)
    masked = redacted(part.text, (Redaction(one.start, one.end, mask(one.detector)) for one in private))
    return ReadPart(part, seen.detections, complete=True, masked=masked, digest=digest(masked.encode()))


def _parts(drafts: Sequence[PartDraft], direction: TextDirection) -> tuple[TextPart, ...]:
    if not 1 <= len(drafts) <= MOST_PARTS:
        raise _refusal("parts", f"{len(drafts)} given, 1 to {MOST_PARTS} are allowed")
    characters = sum(len(draft.text) for draft in drafts)
    if characters > MOST_CHARACTERS:
        raise _refusal("parts", f"{characters} characters in all, at most {MOST_CHARACTERS} are allowed")
    if len({draft.id for draft in drafts}) != len(drafts):
        raise _refusal("parts", "part ids are not unique")
    return tuple(_part(draft, direction, f"parts[{index}]") for index, draft in enumerate(drafts))


def _part(draft: PartDraft, direction: TextDirection, field: str) -> TextPart:
    if not is_identifier(draft.id):
        raise _refusal(f"{field}.part_id", "not an identifier: 1 to 64 of [A-Za-z0-9_.:-]")
    if draft.tool and not is_tool(draft.tool):
        raise _refusal(f"{field}.tool", "not a qualified tool name `server/tool`")
    try:
        draft.text.encode()
    except UnicodeEncodeError as error:
        raise _refusal(f"{field}.text", "a lone surrogate is not a character") from error
    return TextPart(draft.id, draft.text, draft.kind or _USUAL_KIND[direction], draft.tool, draft.declared_trust)


def _refusal(field: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {why}", hint="Correct the request and send it again", field=field)
