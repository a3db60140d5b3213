"""Whether a replay can be trusted: recorded decisions must come out again on their own policy and engine.

A diff of two policies means something only where the first of them, asked again, says what is on record. Whatever
does not reproduce is counted by its reason, with an example, and makes the whole replay untrustworthy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.recorded_decision import Doubt

FEWEST, MOST = 200, 1000
_SHARE = 100

_TOLD = {
    Doubt.RECORD_ALTERED: "the recorded event is not the one that was logged",
    Doubt.DOCUMENT_MISSING: "the input document is no longer stored",
    Doubt.DOCUMENT_ALTERED: "the stored document is not the one that was decided on",
    Doubt.DOCUMENT_MASKED: "parts of the input document are masked",
    Doubt.FIELDS_MISSING: "the record lacks fields that a comparison needs",
    Doubt.SCHEMA_DRIFT: "the document was made for another schema of input documents",
    Doubt.BUNDLE_MISSING: "the policy that decided can be found neither in the store nor in the policy repository",
    Doubt.BUNDLE_CHANGED: "the policy of that commit gives another bundle than the one that decided",
    Doubt.ENGINE_VERSION: "the engine version that decided is not installed",
    Doubt.NOT_REPRODUCED: "the same document on the same policy and engine gives another decision now",
    Doubt.NO_DECISION: "the engine gives no decision on the document",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One recorded decision that was asked again; without a ``doubt`` it came out the same."""

    decision_id: str
    revision: str
    doubt: Doubt | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What became of the decisions that were asked again, in the order of the log."""

    checks: tuple[Check, ...] = field(default=())

    @property
    def is_trustworthy(self) -> bool:
        """Return whether there was something to ask and all of it came out the same."""
        return bool(self.checks) and all(check.doubt is None for check in self.checks)

    def as_json(self) -> dict[str, JsonValue]:
        """Return it as JSON: sums, and every reason with how often it came up and one example."""
        return {
            "trustworthy": self.is_trustworthy,
            "checked": len(self.checks),
            "reproduced": sum(check.doubt is None for check in self.checks),
            "revisions": sorted({check.revision for check in self.checks}),
            "problems": _problems(self.checks),
        }


def fidelity_in(said: Mapping[str, Any]) -> Fidelity:
    """Return what was told as JSON; of its checks only what is told is known, so their ids are those of examples.

    Raises:
        KeyError, TypeError, ValueError: it was not told so.
    """
    revisions = said["revisions"] or [""]
    doubts = [problem for problem in said["problems"] for _ in range(problem["count"])]
    found: list[Mapping[str, Any]] = [{}] * said["reproduced"] + doubts
    return Fidelity(
        tuple(
            Check(
                problem.get("example", ""),
                revisions[at % len(revisions)],
                Doubt(problem["reason"]) if problem else None,
                problem.get("detail", ""),
            )
            for at, problem in enumerate(found)
        )
    )


def sample_size(selected: int) -> int:
    """Return how many decisions are asked again: one in a hundred, within bounds."""
    return min(selected, max(FEWEST, min(MOST, selected // _SHARE)))


def told(doubt: Doubt) -> str:
    """Return a reason in words."""
    return _TOLD[doubt]


def _problems(checks: Sequence[Check]) -> list[JsonValue]:
    found: list[JsonValue] = []
    for doubt in Doubt:
        having = [check for check in checks if check.doubt is doubt]
        if having:
            found.append(
                {
                    "reason": doubt.value,
                    "message": told(doubt),
                    "count": len(having),
                    "example": having[0].decision_id,
                    "detail": having[0].detail,
                }
            )
    return found
