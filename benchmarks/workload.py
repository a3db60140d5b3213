"""Requests and documents to measure with: recorded agent calls if there is a folder of them, else the plans we ship."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aisecops.v1 import decision_service_pb2, plan_pb2, provenance_pb2
from aisecops_client import Client
from aisecops_server.adapters.recordings.spans import ToolServers
from aisecops_server.adapters.recordings.trace_file import RecordingFile
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import RecordedTrace

KINDS = {kind: number for number, kind in enumerate(SourceKind, 1)}


@dataclass(frozen=True, slots=True)
class Workload:
    """One agent's requests, and the input documents that they become."""

    agent_id: str
    requests: tuple[decision_service_pb2.DecideRequest, ...]


def recorded(directory: Path, *, limit: int) -> Workload:
    """Return requests for the calls of the largest suite in ``directory``, spread evenly over it."""
    path = max(directory.glob("*.otlp.jsonl*"), key=lambda file: file.stat().st_size)
    suite = path.name.partition(".")[0]
    traces = list(RecordingFile(path, ToolServers(otherwise=suite)).read())
    requests = [request for trace in traces for request in _requests(trace)]
    step = max(1, len(requests) // limit)
    return Workload(traces[0].agent_id, tuple(requests[::step][:limit]))


def documents(client: Client, workload: Workload) -> list[bytes]:
    """Decide every request once and return the documents that were stored, byte for byte."""
    answers = [client.decide(request.plan) for request in workload.requests]
    return [client.explain(answer.decision.decision_id).document_json for answer in answers]


def of_size(workload: Workload, held: list[bytes], *, smallest: int, largest: int) -> tuple[Workload, list[bytes]]:
    """Return the part of a workload whose documents have the size that the bars speak of."""
    pairs = [
        (request, document)
        for request, document in zip(workload.requests, held, strict=True)
        if smallest <= len(document) <= largest
    ]
    return Workload(workload.agent_id, tuple(request for request, _ in pairs)), [document for _, document in pairs]


def _requests(trace: RecordedTrace) -> Iterator[decision_service_pb2.DecideRequest]:
    sources = [
        provenance_pb2.Source(
            source_id=f"prompt-{number}",
            kind=KINDS[prompt.kind],
            content=prompt.text.encode(),
        )
        for number, prompt in enumerate(trace.prompts, 1)
    ]
    history: list[plan_pb2.PastStep] = []
    for call in trace.calls:
        step = plan_pb2.Step(step_id=call.span_id, tool=call.tool, arguments_json=call.arguments_json.encode())
        plan = plan_pb2.ExecutionPlan(
            session_id=trace.session_id,
            environment=trace.environment,
            steps=[step],
            sources=sources,
            history=history,
        )
        yield decision_service_pb2.DecideRequest(plan=plan)
        history.append(plan_pb2.PastStep(step_id=call.span_id, tool=call.tool))
        if call.result is not None:
            sources.append(
                provenance_pb2.Source(
                    source_id=f"result-{call.span_id}",
                    kind=provenance_pb2.SOURCE_KIND_TOOL_RESULT,
                    content=call.result.encode(),
                    tool=call.tool,
                    step_id=call.span_id,
                )
            )
