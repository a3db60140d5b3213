"""The calls that an evidence package can answer: traces, events and graphs, and the proofs and Rego that came with it.

There is no other call behind this gate, so there is nothing that could decide, change or record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from aisecops.v1 import bundle_service_pb2, decision_service_pb2, transparency_service_pb2

from aisecops_server.domain.bundles.bundle import RuleDoc
from aisecops_server.domain.errors import EngineUnavailableError, NotFoundError
from aisecops_server.entrypoints.grpc.audit_service import AuditService
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import explain_response
from aisecops_server.entrypoints.grpc.investigation_service import InvestigationService
from aisecops_server.entrypoints.grpc.methods import Gate, Patience, read_message
from aisecops_server.ports import EventLog, PolicyEngine
from aisecops_server.usecases.decisions.explain import Explain
from aisecops_server.usecases.evidence.investigate import Investigate

_PLACE = "/aisecops.v1"


class NoEngines:
    """Implements ``EngineSource``: beside a package no engine runs."""

    def current(self) -> PolicyEngine:
        """Refuse."""
        raise _no_engine()

    async def engine_at(self, revision: str) -> PolicyEngine:  # noqa: ARG002
        """Refuse."""
        raise _no_engine()


class Policies(Protocol):
    """The policies that came with a package."""

    def rules(self, bundle: str) -> Mapping[str, RuleDoc]:
        """Return what the rules of a bundle say of themselves, by rule."""

    def file(self, commit: str, path: str) -> str:
        """Return a file of the policy of a commit."""


@dataclass(frozen=True, slots=True)
class PackageService:
    """Answers about single decisions and places; ``proofs`` are tlog-proofs by log index."""

    log: EventLog
    explain: Explain
    proofs: Mapping[int, str]
    policies: Policies

    async def explain_one(self, request: bytes, _caller: Caller) -> decision_service_pb2.ExplainResponse:
        """Answer Explain, without making the decision again."""
        asked = read_message(decision_service_pb2.ExplainRequest, request)
        found = await self.explain(asked.decision_id, full=False)
        rules = self.policies.rules(str(found.stored.details["bundle_digest"]))
        return explain_response(replace(found, rules=rules))

    async def policy_file(self, request: bytes, _caller: Caller) -> bundle_service_pb2.GetPolicyFileResponse:
        """Answer GetPolicyFile, from the bundle that came with the package."""
        asked = read_message(bundle_service_pb2.GetPolicyFileRequest, request)
        content = self.policies.file(asked.revision, asked.path).encode()
        return bundle_service_pb2.GetPolicyFileResponse(commit=asked.revision, path=asked.path, content=content)

    async def prove_inclusion(self, request: bytes, _caller: Caller) -> transparency_service_pb2.ProveInclusionResponse:
        """Answer ProveInclusion, with the proof that came with the package."""
        index = read_message(transparency_service_pb2.ProveInclusionRequest, request).log_index
        async for stored in self.log.events(from_index=max(index, 0), follow=False, trace_id=""):
            if stored.index == index:
                return transparency_service_pb2.ProveInclusionResponse(
                    proof=self.proofs[index], body_json=stored.event.body
                )
            break
        raise NotFoundError(f"the package holds no event {index}", id=str(index))


def offer(
    gate: Gate, log: EventLog, investigate: Investigate, *, proofs: Mapping[int, str], policies: Policies
) -> None:
    """Put the calls of a package behind ``gate``."""
    audit, tell = AuditService(log, gate), InvestigationService(investigate)
    package = PackageService(log, Explain(NoEngines(), log, 1.0), proofs, policies)
    for call, handler in (
        ("AuditService/GetTrace", audit.trace),
        ("AuditService/GetEvent", audit.event),
        ("AuditService/ListTraces", audit.list_traces),
        ("AuditService/ListTraceFacets", audit.list_trace_facets),
        ("InvestigationService/GetExecutionGraph", tell.graph),
        ("InvestigationService/GetGovernanceDiff", tell.diff),
        ("DecisionService/Explain", package.explain_one),
        ("BundleService/GetPolicyFile", package.policy_file),
        ("TransparencyService/ProveInclusion", package.prove_inclusion),
    ):
        gate.unary(f"{_PLACE}.{call}", handler, Patience.WORK)


def _no_engine() -> EngineUnavailableError:
    return EngineUnavailableError(
        "no engine runs beside a package", hint="'aisecops evidence verify --reproduce' makes every decision again"
    )
