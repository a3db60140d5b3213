"""A decision about texts as the JSON that the log keeps, and the texts that may be used on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aisecops_server.domain.decisions.decision import Conclusion, Decision, Obligation, Outcome
from aisecops_server.domain.decisions.decision_json import decision_details
from aisecops_server.domain.errors import NoDecisionError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.plan import ExecutionPlan, PlanId
from aisecops_server.domain.plans.provenance import Source, SourceId
from aisecops_server.domain.screening.redaction import Redaction, redacted
from aisecops_server.domain.screening.screen_document import detection_json
from aisecops_server.domain.screening.text_parts import ReadPart, Screening

REDACT = "redact"


def as_sources(screening: Screening, parts: Sequence[ReadPart]) -> ExecutionPlan:
    """Return a plan without steps whose sources are the texts: what a decision about texts is described by."""
    return ExecutionPlan(
        id=PlanId(""),
        trace_id=screening.trace_id,
        session_id=screening.session_id,
        parent_trace_id="",
        intent="",
        environment="",
        steps=(),
        sources=tuple(_source(read) for read in parts),
        delegation=(),
        history=(),
    )


def screening_details(decision: Decision, screening: Screening, parts: Sequence[ReadPart]) -> dict[str, JsonValue]:
    """Return the whole of ``decision``, with what was seen in the texts."""
    details = decision_details(decision, as_sources(screening, parts))
    if decision.outcome is Outcome.ALLOW and decision.conclusion.would_outcome is Outcome.ALLOW:
        details["explanation"] = _allowed(decision.conclusion, len(parts))
    details["screening"] = {
        "direction": screening.direction.value,
        "parts": [
            {
                **received_part(read),
                "detections": [detection_json(detection) for detection in read.detections],
            }
            for read in parts
        ],
    }
    return details


def received_part(read: ReadPart) -> dict[str, JsonValue]:
    """Return what is told of a text itself."""
    return {
        "id": read.part.id,
        "kind": read.part.kind.value,
        "characters": len(read.part.text),
        "digest": read.digest,
        "complete": read.complete,
    }


def usable_texts(conclusion: Conclusion, screening: Screening) -> dict[str, str]:
    """Return each text as it may be used: what policy wants redacted is. Without an allow there is none.

    Raises:
        NoDecisionError: a redaction is not one of these texts' own.
    """
    if conclusion.outcome is not Outcome.ALLOW:
        return {}
    wanted: dict[str, list[Redaction]] = {part.id: [] for part in screening.parts}
    for obligation in conclusion.obligations:
        if obligation.kind == REDACT:
            if obligation.step_id not in wanted:
                raise _unusable(f"part '{obligation.step_id}' is to be redacted, and there is none")
            wanted[obligation.step_id] += _redactions(obligation)
    try:
        return {part.id: redacted(part.text, wanted[part.id]) for part in screening.parts}
    except ValueError as error:
        raise _unusable(str(error)) from error


def _redactions(obligation: Obligation) -> list[Redaction]:
    ranges = obligation.parameters.get("ranges")
    if not isinstance(ranges, list):
        raise _unusable("a redaction has no ranges")
    return [_redaction(item) for item in ranges]


def _redaction(item: JsonValue) -> Redaction:
    fields: Mapping[str, JsonValue] = item if isinstance(item, dict) else {}
    start, end, replacement = fields.get("start"), fields.get("end"), fields.get("replacement")
    if type(start) is not int or type(end) is not int or not isinstance(replacement, str):
        raise _unusable("a redaction is not {start, end, replacement}")
    return Redaction(start, end, replacement)


def _unusable(why: str) -> NoDecisionError:
    return NoDecisionError(
        f"the engine's answer is not a decision: {why}",
        hint="Nothing was allowed. Check the live revision with 'aisecops bundle list'",
        why="redaction",
    )


def _allowed(conclusion: Conclusion, texts: int) -> str:
    places = sum(len(_redactions(item)) for item in conclusion.obligations if item.kind == REDACT)
    what = "1 text" if texts == 1 else f"{texts} texts"
    if not places:
        return f"Allowed: {what} screened, nothing to redact."
    return f"Allowed: {what} screened, {places} {'place' if places == 1 else 'places'} to redact."


def _source(read: ReadPart) -> Source:
    part = read.part
    return Source(
        id=SourceId(part.id),
        kind=part.kind,
        name="",
        origin_uri="",
        content=None,
        digest=read.digest,
        digest_verified=True,
        declared_trust=part.declared_trust,
        tool=part.tool,
        step_id="",
    )
