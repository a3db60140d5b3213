"""How far adoption is, as a message."""

from __future__ import annotations

from aisecops.v1 import maturity_pb2

from aisecops_server.domain.agents.maturity import Evidence, Judged, Maturity, MaturityPhase


def maturity_message(maturity: Maturity) -> maturity_pb2.Maturity:
    """Return how far one agent is, or all of them."""
    return maturity_pb2.Maturity(
        agent_id=maturity.agent_id,
        owner=maturity.owner,
        phase=_phase(maturity.phase),
        criteria=map(_criterion, maturity.judged),
    )


def _criterion(judged: Judged) -> maturity_pb2.MaturityCriterion:
    criterion, measured = judged.criterion, judged.measured
    return maturity_pb2.MaturityCriterion(
        name=criterion.name,
        phase=_phase(criterion.phase),
        question=criterion.question,
        value=measured.value,
        threshold=judged.threshold,
        at_most=criterion.is_ceiling,
        unit=criterion.unit.value,
        met=judged.is_met,
        applies=measured.applies,
        note=measured.note,
        evidence=map(_evidence, measured.evidence),
        remedy="" if judged.is_met else criterion.remedy,
    )


def _evidence(evidence: Evidence) -> maturity_pb2.MaturityEvidence:
    index = evidence.index if evidence.index >= 0 else None
    return maturity_pb2.MaturityEvidence(kind=evidence.kind.value, name=evidence.name, log_index=index)


def _phase(phase: MaturityPhase) -> maturity_pb2.MaturityPhase.ValueType:
    return maturity_pb2.MaturityPhase.Value(f"MATURITY_PHASE_{phase.name}")
