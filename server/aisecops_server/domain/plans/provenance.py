"""Where the words that steer an agent came from.

A source's *kind* and *content* are facts; its *trust* is a judgement and belongs to policy. Here only the
caller's own label is kept, because it can lower trust and never raise it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

SourceId = NewType("SourceId", str)


class SourceKind(StrEnum):
    """What sort of text or record reached the agent's context."""

    AGENT_IDENTITY = "agent_identity"
    USER_PROMPT = "user_prompt"
    SYSTEM_PROMPT = "system_prompt"
    SKILL = "skill"
    MEMORY = "memory"
    RETRIEVAL_CHUNK = "retrieval_chunk"
    TOOL_RESULT = "tool_result"
    AGENT_MESSAGE = "agent_message"


class TrustLevel(StrEnum):
    """How far a source's words may steer an action, most trusted first."""

    TRUSTED = "trusted"
    INTERNAL = "internal"
    EXTERNAL = "external"
    UNVERIFIED = "unverified"

    @property
    def rank(self) -> int:
        """Return 0 for the most trusted level, rising as trust falls."""
        return _RANK[self]


_RANK = {level: rank for rank, level in enumerate(TrustLevel)}


@dataclass(frozen=True, slots=True)
class Source:
    """One thing that influenced a plan.

    ``content`` is ``None`` when only ``digest`` is known; nothing can then be grounded in the source, and
    nothing can be shown to be absent from it. ``digest_verified`` is true when the control plane hashed
    the content itself; a declared digest that differs from the content is refused before a Source exists.
    ``name`` is for people; of a tool's result it may be the arguments of its call as a JSON object, by which
    grounding sees whether the human pointed at it.
    """

    id: SourceId
    kind: SourceKind
    name: str
    origin_uri: str
    content: str | None
    digest: str
    digest_verified: bool
    declared_trust: TrustLevel | None
    tool: str
    step_id: str
