"""The outline of a trace as the API's messages: an answer to GetTrace of which most fields are left out."""

from __future__ import annotations

from aisecops.v1 import decision_pb2, event_pb2
from aisecops.v1.audit_service_pb2 import GetTraceResponse

from aisecops_server.domain.events.event import Stage
from aisecops_server.domain.traces.trace_outline import DecisionLine, DecisionLook, TraceOutline
from aisecops_server.entrypoints.grpc.decision_codec import EFFECTS, MODES, OUTCOMES, TRUST, decision_message

STAGES = {stage.value: event_pb2.Stage.Value(f"STAGE_{stage.name}") for stage in Stage}


def write_outline(outline: TraceOutline, made: GetTraceResponse) -> None:
    """Put the decisions and events of ``outline`` into an answer."""
    deciding = outline.deciding
    patterns: dict[DecisionLook, decision_pb2.Decision] = {}
    for line in outline.decisions:
        if deciding and line[0] == deciding.decision_id:
            made.decisions.append(decision_message(deciding.details))
        else:
            _write(line, made.decisions.add(), patterns)
    for index, event_id, decision_id, stage, kind, body in outline.events:
        made.events.add(
            log_index=index,
            event_id=event_id,
            decision_id=decision_id,
            stage=STAGES[stage],
            type=kind,
            body_json=body,
        )


def _write(
    line: DecisionLine, made: decision_pb2.Decision, patterns: dict[DecisionLook, decision_pb2.Decision]
) -> None:
    decision_id, micros, nanoseconds, look = line
    pattern = patterns.get(look)
    if pattern is None:
        pattern = patterns[look] = _pattern(look)
    made.CopyFrom(pattern)
    made.decision_id = decision_id
    made.decided_at.FromMicroseconds(micros)
    made.evaluation.FromNanoseconds(nanoseconds)


def _pattern(look: DecisionLook) -> decision_pb2.Decision:
    return decision_pb2.Decision(
        outcome=OUTCOMES[look.outcome],
        mode=MODES[look.mode],
        steps=[decision_pb2.StepDecision(step_id=step, outcome=OUTCOMES[outcome]) for step, outcome in look.steps],
        findings=[
            decision_pb2.Finding(rule=rule, effect=EFFECTS[effect], step_id=step)
            for rule, effect, step in look.findings
        ],
        sources=[decision_pb2.SourceTrust(trust=TRUST[trust]) for trust in look.trusts],
    )
