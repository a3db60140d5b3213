"""Exactly the JSON that policy sees of texts, and the one function that makes it.

The texts themselves stay outside, unless the caller wants them kept; then what is private in them is masked. The
models are the contract: `rego/schemas/screen.json` is generated from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from aisecops_server.domain.documents.input_document import (
    ApprovalPart,
    Circumstances,
    Now,
    SessionPart,
    approval_json,
    rfc3339,
    salted,
)
from aisecops_server.domain.formats.canonical import JsonValue as Json
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.screening.detection import Detection
from aisecops_server.domain.screening.text_parts import ReadPart, Screening

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScreenPrincipalPart(_Part):
    """Who asks, as the credential proved it."""

    id: str
    authenticated_by: str


class ScreenTracePart(_Part):
    """The trace the texts belong to."""

    id: str


class DetectionPart(_Part):
    """One thing that a detector saw."""

    detector: str = Field(description="Such as `injection.override`; the word before the dot is its kind.")
    start: int = Field(description="First character, counted in Unicode code points of the text as it was given.")
    end: int = Field(description="The character behind the last.")
    disguise: Literal["", "letters", "escapes", "base64", "hex", "invisible"] = Field(
        description="What had to be undone to see it."
    )
    quoted: bool = Field(description="Whether it stands in quotation marks, in a quoted line, or in code.")
    discussed: bool = Field(description="Whether the words around it talk about it, or say the contrary.")
    excerpt: str = Field(description="What was read there, at most 80 characters; empty for what is private.")


class TextPartPart(_Part):
    """One text."""

    id: str
    kind: Literal[
        "agent_identity",
        "user_prompt",
        "system_prompt",
        "skill",
        "memory",
        "retrieval_chunk",
        "tool_result",
        "agent_message",
    ]
    tool: str
    declared_trust: Literal["", "trusted", "internal", "external", "unverified"]
    characters: int
    digest: str = Field(description="SHA-256 of the text with secrets and personal data masked.")
    complete: bool = Field(description="False when there is more to tell of it than can be told.")
    text: str | None = Field(description="The text with secrets and personal data masked, if it is to be kept.")
    detections: list[DetectionPart]


class ScreenDocument(_Part):
    """The whole document about texts."""

    schema_version: Literal[1]
    kind: Literal["screen"]
    mode: Literal["ENFORCE", "DRY_RUN", "SHADOW"]
    now: Now
    principal: ScreenPrincipalPart
    trace: ScreenTracePart
    session: SessionPart
    direction: Literal["prompt", "input", "tool_result", "output"]
    hash: str = Field(description="SHA-256 over who asks and what was screened; an approval names it.")
    parts: list[TextPartPart]
    approvals: list[ApprovalPart]
    salt: str = Field(default="", description="As in the document about a plan.")


def screen_hash(screening: Screening, parts: Sequence[ReadPart], principal_id: str) -> str:
    """Return the SHA-256 of what was screened for whom; the same texts of the same agent have the same hash."""
    said: list[Json] = [
        {"id": read.part.id, "kind": read.part.kind.value, "tool": read.part.tool, "digest": read.digest}
        for read in parts
    ]
    return digest(canonical_bytes({"principal": principal_id, "direction": screening.direction.value, "parts": said}))


def build_screen_document(
    screening: Screening, parts: Sequence[ReadPart], *, hash: str, circumstances: Circumstances
) -> bytes:
    """Return the canonical bytes of the document about texts.

    Pure: the same arguments give the same bytes, and these bytes are what the engine reads, what is hashed and what
    is stored.
    """
    seconds, principal = circumstances.now_ns // 1_000_000_000, circumstances.principal
    return canonical_bytes(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": "screen",
            "mode": circumstances.mode.value,
            "now": {"unix_seconds": seconds, "rfc3339": rfc3339(seconds)},
            "principal": {"id": principal.id, "authenticated_by": principal.authenticated_by},
            "trace": {"id": screening.trace_id},
            "session": {"id": screening.session_id},
            "direction": screening.direction.value,
            "hash": hash,
            "parts": [_part(read, keep_text=screening.keep_text) for read in parts],
            "approvals": [approval_json(approval) for approval in circumstances.approvals],
            **salted(circumstances),
        }
    )


def detection_json(detection: Detection) -> dict[str, Json]:
    """Return a detection as JSON."""
    return {
        "detector": detection.detector,
        "start": detection.start,
        "end": detection.end,
        "disguise": detection.disguise.value,
        "quoted": detection.quoted,
        "discussed": detection.discussed,
        "excerpt": detection.excerpt,
    }


def _part(read: ReadPart, *, keep_text: bool) -> Json:
    part = read.part
    return {
        "id": part.id,
        "kind": part.kind.value,
        "tool": part.tool,
        "declared_trust": part.declared_trust.value if part.declared_trust else "",
        "characters": len(part.text),
        "digest": read.digest,
        "complete": read.complete,
        "text": read.masked if keep_text and read.complete else None,
        "detections": [detection_json(detection) for detection in read.detections],
    }
