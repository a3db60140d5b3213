"""A leaf of the log as it is stored, with what belongs to it where it is the conclusion of a decision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLeaf:
    """Leaf ``index``. All but its hash is ``None`` unless it concludes a decision; what was erased is ``None`` too."""

    index: int
    leaf_hash: bytes
    trace: int | None = None
    decision_id: str | None = None
    document_digest: bytes | None = None
    body: bytes | None = None
    payload: bytes | None = None
    document: bytes | None = None
