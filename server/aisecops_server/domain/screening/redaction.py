"""Replacing places of a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, order=True)
class Redaction:
    """What to put in the place of ``[start, end)``."""

    start: int
    end: int
    replacement: str


def mask(detector: str) -> str:
    """Return what stands for a secret or a person's data: what it was, and nothing of it."""
    return f"[{detector}]"


def combined(redactions: Iterable[Redaction]) -> list[Redaction]:
    """Return the same redactions in order, overlapping ones as one that says what came first."""
    joined: list[Redaction] = []
    for redaction in sorted(redactions):
        if joined and redaction.start < joined[-1].end:
            last = joined[-1]
            said = last.replacement or redaction.replacement
            joined[-1] = replace(last, end=max(last.end, redaction.end), replacement=said)
        else:
            joined.append(redaction)
    return joined


def redacted(text: str, redactions: Iterable[Redaction]) -> str:
    """Return ``text`` with every redaction made.

    Raises:
        ValueError: a redaction lies outside of the text or is empty.
    """
    parts: list[str] = []
    at = 0
    for redaction in combined(redactions):
        if not 0 <= redaction.start < redaction.end <= len(text):
            raise ValueError(f"there is no [{redaction.start}, {redaction.end}) in a text of {len(text)} characters")
        parts += [text[at : redaction.start], redaction.replacement]
        at = redaction.end
    return "".join([*parts, text[at:]])
