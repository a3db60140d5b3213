"""InvestigationService: graphs and governance diffs of traces."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops.v1 import investigation_service_pb2 as api

from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.traces.execution_graph import Edge, Node
from aisecops_server.domain.traces.governance_diff import StepPath, Violation
from aisecops_server.entrypoints.grpc.audit_service import checked_trace_id
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.usecases.evidence.investigate import Investigate


@dataclass(frozen=True, slots=True)
class InvestigationService:
    """The handlers of ``aisecops.v1.InvestigationService``."""

    investigate: Investigate

    async def graph(self, request: bytes, _caller: Caller) -> api.GetExecutionGraphResponse:
        """Answer GetExecutionGraph."""
        asked = read_message(api.GetExecutionGraphRequest, request)
        graph = await self.investigate.graph(checked_trace_id(asked.trace_id), delegated=not asked.alone)
        return api.GetExecutionGraphResponse(
            nodes=map(_node, graph.nodes),
            edges=map(_edge, graph.edges),
            gaps=graph.gaps,
            decisions=graph.decisions,
            whole=graph.whole,
        )

    async def diff(self, request: bytes, _caller: Caller) -> api.GetGovernanceDiffResponse:
        """Answer GetGovernanceDiff."""
        asked = read_message(api.GetGovernanceDiffRequest, request)
        diff = await self.investigate.diff(checked_trace_id(asked.trace_id))
        return api.GetGovernanceDiffResponse(
            result=diff.result, steps=map(_path, diff.steps), violations=map(_violation, diff.violations)
        )


def _node(node: Node) -> api.GraphNode:
    return api.GraphNode(
        id=node.id,
        kind=node.kind,
        label=node.label,
        trace_id=node.trace_id,
        event_id=node.event_id,
        facts_json=canonical_bytes(node.facts).decode(),
    )


def _edge(edge: Edge) -> api.GraphEdge:
    return api.GraphEdge(source_id=edge.source, target_id=edge.target, kind=edge.kind, pointers=edge.pointers)


def _path(path: StepPath) -> api.StepPath:
    return api.StepPath(
        decision_id=path.decision_id,
        step_id=path.step_id,
        tool=path.tool,
        outcome=path.outcome,
        granted=path.granted,
        executed=path.executed,
    )


def _violation(violation: Violation) -> api.Violation:
    return api.Violation(
        kind=violation.kind,
        severity=violation.severity,
        decision_id=violation.decision_id,
        step_id=violation.step_id,
        expected=violation.expected,
        actual=violation.actual,
        event_ids=violation.event_ids,
    )
