"""Which method of which service is answered by which handler: one table, complete by a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from aisecops.v1 import (
    agent_service_pb2,
    approval_service_pb2,
    audit_service_pb2,
    budget_service_pb2,
    bundle_service_pb2,
    compliance_service_pb2,
    decision_service_pb2,
    drift_service_pb2,
    edge_service_pb2,
    evidence_service_pb2,
    execution_service_pb2,
    export_service_pb2,
    investigation_service_pb2,
    key_service_pb2,
    replay_service_pb2,
    retention_service_pb2,
    review_service_pb2,
    rollout_service_pb2,
    screen_service_pb2,
    transparency_service_pb2,
)

from aisecops_server.domain.callers.refusal import Refusal
from aisecops_server.entrypoints.grpc.access import CHECK
from aisecops_server.entrypoints.grpc.admission import Admission, WorkQueue
from aisecops_server.entrypoints.grpc.agent_service import AgentService
from aisecops_server.entrypoints.grpc.approval_service import ApprovalService, ApprovalUseCases, wait_room
from aisecops_server.entrypoints.grpc.audit_service import AuditService
from aisecops_server.entrypoints.grpc.budget_service import BudgetService, BudgetUseCases
from aisecops_server.entrypoints.grpc.bundle_service import BundleService, PolicyUseCases
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.compliance_service import ComplianceService, ComplianceUseCases
from aisecops_server.entrypoints.grpc.decision_service import DecisionService
from aisecops_server.entrypoints.grpc.drift_service import DriftService, DriftUseCases
from aisecops_server.entrypoints.grpc.edge_service import EdgeService, EdgeUseCases
from aisecops_server.entrypoints.grpc.evidence_service import EvidenceService
from aisecops_server.entrypoints.grpc.execution_service import ExecutionService, GrantUseCases
from aisecops_server.entrypoints.grpc.export_service import ExportService
from aisecops_server.entrypoints.grpc.ext_authz_service import METHOD, SERVICE, ExtAuthzService
from aisecops_server.entrypoints.grpc.health_service import Readiness
from aisecops_server.entrypoints.grpc.investigation_service import InvestigationService
from aisecops_server.entrypoints.grpc.key_service import KeyService, SigningKeys
from aisecops_server.entrypoints.grpc.methods import Gate, Patience
from aisecops_server.entrypoints.grpc.reads import Tell
from aisecops_server.entrypoints.grpc.replay_service import ReplayService, ReplayUseCases
from aisecops_server.entrypoints.grpc.retention_service import RetentionService, RetentionUseCases
from aisecops_server.entrypoints.grpc.review_service import ReviewService
from aisecops_server.entrypoints.grpc.rollout_service import RolloutService
from aisecops_server.entrypoints.grpc.screen_service import ScreenService
from aisecops_server.entrypoints.grpc.transparency_service import TransparencyService
from aisecops_server.ports import Authenticator, EventLog, Ids
from aisecops_server.ports.grants import GrantKeyRing
from aisecops_server.usecases.compliance.read_agents import ReadAgents
from aisecops_server.usecases.compliance.read_maturity import ReadMaturity
from aisecops_server.usecases.decisions.decide import Decide
from aisecops_server.usecases.decisions.explain import Explain
from aisecops_server.usecases.decisions.screen import Screen
from aisecops_server.usecases.evidence.export_evidence import ExportEvidence
from aisecops_server.usecases.evidence.export_records import ExportRecords
from aisecops_server.usecases.evidence.investigate import Investigate
from aisecops_server.usecases.log.checkpoint import PublishCheckpoint
from aisecops_server.usecases.log.rotate_key import RotateKeys
from aisecops_server.usecases.log.rotate_log_key import RotateLogKey
from aisecops_server.usecases.reviews.judge_flips import JudgeFlips
from aisecops_server.usecases.rollouts.rollouts import Rollouts
from aisecops_server.usecases.tools.check_http import CheckHttp

_COMPLIANCE = compliance_service_pb2.DESCRIPTOR.services_by_name["ComplianceService"].full_name
_DECISION = decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"].full_name
_BUNDLE = bundle_service_pb2.DESCRIPTOR.services_by_name["BundleService"].full_name
_AGENT = agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name
_APPROVAL = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"].full_name
_EXECUTION = execution_service_pb2.DESCRIPTOR.services_by_name["ExecutionService"].full_name
_AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name
_INVESTIGATION = investigation_service_pb2.DESCRIPTOR.services_by_name["InvestigationService"].full_name
_EVIDENCE = evidence_service_pb2.DESCRIPTOR.services_by_name["EvidenceService"].full_name
_DRIFT = drift_service_pb2.DESCRIPTOR.services_by_name["DriftService"].full_name
_EXPORT = export_service_pb2.DESCRIPTOR.services_by_name["ExportService"].full_name
_BUDGET = budget_service_pb2.DESCRIPTOR.services_by_name["BudgetService"].full_name
_REVIEW = review_service_pb2.DESCRIPTOR.services_by_name["ReviewService"].full_name
_REPLAY = replay_service_pb2.DESCRIPTOR.services_by_name["ReplayService"].full_name
_RETENTION = retention_service_pb2.DESCRIPTOR.services_by_name["RetentionService"].full_name
_SCREEN = screen_service_pb2.DESCRIPTOR.services_by_name["ScreenService"].full_name
_KEYS = key_service_pb2.DESCRIPTOR.services_by_name["KeyService"].full_name
_TRANSPARENCY = transparency_service_pb2.DESCRIPTOR.services_by_name["TransparencyService"].full_name
_ROLLOUT = rollout_service_pb2.DESCRIPTOR.services_by_name["RolloutService"].full_name
_EDGE = edge_service_pb2.DESCRIPTOR.services_by_name["EdgeService"].full_name

Methods = dict[str, "grpc.RpcMethodHandler[Any, Any]"]


@dataclass(frozen=True, slots=True)
class Served:
    """What the API offers: use cases, the log for reading, and who may come in.

    At an edge there is nothing that the centre alone can tell: no maturity, no replays, no compliance, no edges.
    """

    decide: Decide
    explain: Explain
    screen: Screen
    policy: PolicyUseCases
    agents: ReadAgents
    maturity: ReadMaturity | None
    approvals: ApprovalUseCases
    grants: GrantUseCases
    budgets: BudgetUseCases
    log: EventLog
    publish: PublishCheckpoint
    rotate: RotateLogKey
    grant_keys: RotateKeys[GrantKeyRing]
    signing_keys: SigningKeys
    export: ExportEvidence
    records: ExportRecords
    retention: RetentionUseCases
    replays: ReplayUseCases | None
    review: JudgeFlips | None
    compliance: ComplianceUseCases | None
    drift: DriftUseCases | None
    authenticator: Authenticator
    note_refusal: Callable[[Refusal], None]
    tell_reading: Tell
    ids: Ids
    readiness: Readiness
    work: WorkQueue
    max_in_flight: int = 256
    edges: EdgeUseCases | None = None
    rollouts: Rollouts | None = None

    @property
    def service_names(self) -> tuple[str, ...]:
        """Return the full names of our services."""
        return (
            _DECISION,
            _BUNDLE,
            _AUDIT,
            _TRANSPARENCY,
            _KEYS,
            _EVIDENCE,
            _APPROVAL,
            _EXECUTION,
            _BUDGET,
            _INVESTIGATION,
            _AGENT,
            _SCREEN,
            _EXPORT,
            _RETENTION,
            *self._central,
        )

    @property
    def _central(self) -> tuple[str, ...]:
        offered = {
            _REPLAY: self.replays,
            _REVIEW: self.review,
            _COMPLIANCE: self.compliance,
            _DRIFT: self.drift,
            _EDGE: self.edges,
            _ROLLOUT: self.rollouts,
        }
        return tuple(name for name, use_cases in offered.items() if use_cases is not None)


def methods(served: Served, gate: Gate) -> dict[str, Methods]:
    """Return every method that a tenant's part of a server must answer by its service, each behind ``gate``."""
    return {
        _DECISION: _decision_methods(served, gate),
        _BUNDLE: _bundle_methods(served, gate),
        _EXECUTION: _execution_methods(served, gate),
        _AGENT: _agent_methods(served, gate),
        _AUDIT: _audit_methods(served, gate),
        _BUDGET: _budget_methods(served, gate),
        _SCREEN: _screen_methods(served, gate),
        _TRANSPARENCY: _transparency_methods(served, gate),
        _KEYS: _key_methods(served, gate),
        _EVIDENCE: _evidence_methods(served, gate),
        _APPROVAL: _approval_methods(served, gate),
        _INVESTIGATION: _investigation_methods(served, gate),
        _EXPORT: _export_methods(served, gate),
        _RETENTION: _retention_methods(served, gate),
        **dict(_central(served, gate)),
        SERVICE: _ext_authz_methods(served, gate),
    }


def _central(served: Served, gate: Gate) -> Iterator[tuple[str, Methods]]:
    """Yield the services that an edge is without."""
    if served.replays is not None:
        yield _REPLAY, _replay_methods(served.replays, gate)
    if served.review is not None:
        yield _REVIEW, _review_methods(served.review, gate)
    if served.compliance is not None:
        yield _COMPLIANCE, _compliance_methods(served.compliance, gate)
    if served.drift is not None:
        yield _DRIFT, _drift_methods(served.drift, gate)
    if served.edges is not None:
        yield _EDGE, _edge_methods(served.edges, gate)
    if served.rollouts is not None:
        yield _ROLLOUT, _rollout_methods(served.rollouts, gate)


def _decision_methods(served: Served, gate: Gate) -> Methods:
    service = DecisionService(
        served.decide,
        served.explain,
        served.ids,
        served.work,
        gate,
        served.grants.hand_out,
        served.publish.receipt,
    )
    place, check = f"/{_DECISION}", _check(served)
    return {
        "Decide": gate.queued(f"{place}/Decide", service.decide_one, Patience.DECISION, check),
        "DecideBatch": gate.queued(f"{place}/DecideBatch", service.decide_batch, Patience.BATCH, check),
        "Session": gate.session(f"{place}/Session", service.session),
        # A dry run may have to build and start a historical revision first.
        "DryRun": gate.queued(f"{place}/DryRun", service.dry_run, Patience.WORK, check),
        "Explain": gate.queued(f"{place}/Explain", service.explain_one, Patience.WORK, check),
    }


def _check(served: Served) -> Callable[[Caller], None]:
    return lambda caller: served.work.check(caller.principal.id, seconds=caller.seconds)


def _ext_authz_methods(served: Served, gate: Gate) -> Methods:
    check = CheckHttp(served.decide, served.grants.hand_out, served.grants.redeem, served.ids)
    service = ExtAuthzService(check, served.work, gate)
    return {METHOD: gate.unary(CHECK, service.check, Patience.DECISION)}


def _bundle_methods(served: Served, gate: Gate) -> Methods:
    service = BundleService(served.policy)
    place = f"/{_BUNDLE}"
    return {
        "ListRevisions": gate.unary(f"{place}/ListRevisions", service.list_revisions, Patience.WORK),
        "GetRevision": gate.unary(f"{place}/GetRevision", service.revision, Patience.WORK),
        "GetPolicyFile": gate.unary(f"{place}/GetPolicyFile", service.policy_file, Patience.WORK),
        "DiffRevisions": gate.unary(f"{place}/DiffRevisions", service.diff, Patience.WORK),
        "GetStatus": gate.unary(f"{place}/GetStatus", service.status, Patience.WORK),
        "Activate": gate.unary(f"{place}/Activate", service.activate, Patience.WORK),
        "Rollback": gate.unary(f"{place}/Rollback", service.rollback, Patience.WORK),
        "Sync": gate.unary(f"{place}/Sync", service.sync, Patience.WORK),
    }


def _execution_methods(served: Served, gate: Gate) -> Methods:
    service = ExecutionService(served.grants, served.grant_keys, served.log, Admission(served.max_in_flight), gate)
    place = f"/{_EXECUTION}"
    return {
        "Redeem": gate.unary(f"{place}/Redeem", service.redeem, Patience.DECISION),
        "Complete": gate.unary(f"{place}/Complete", service.complete, Patience.DECISION),
        "ReportExecution": gate.unary(f"{place}/ReportExecution", service.report, Patience.DECISION),
        "ListGrants": gate.unary(f"{place}/ListGrants", service.list_grants, Patience.WORK),
        "RevokeGrants": gate.unary(f"{place}/RevokeGrants", service.revoke, Patience.WORK),
        "GetGrantKeys": gate.unary(f"{place}/GetGrantKeys", service.keys, Patience.WORK),
        "RotateGrantKey": gate.unary(f"{place}/RotateGrantKey", service.rotate_key, Patience.WORK),
        "ListIncidents": gate.unary(f"{place}/ListIncidents", service.list_incidents, Patience.WORK),
        "StreamIncidents": gate.stream(f"{place}/StreamIncidents", service.stream_incidents),
    }


def _agent_methods(served: Served, gate: Gate) -> Methods:
    service = AgentService(served.agents, served.maturity)
    place = f"/{_AGENT}"
    return {
        "ListAgents": gate.unary(f"{place}/ListAgents", service.list_agents, Patience.WORK),
        "GetAgent": gate.unary(f"{place}/GetAgent", service.agent, Patience.WORK),
        "GetMaturity": gate.unary(f"{place}/GetMaturity", service.how_far, Patience.WORK),
        "ListTools": gate.unary(f"{place}/ListTools", service.tools, Patience.DECISION),
    }


def _audit_methods(served: Served, gate: Gate) -> Methods:
    service = AuditService(served.log, gate)
    place = f"/{_AUDIT}"
    return {
        "GetTrace": gate.unary(f"{place}/GetTrace", service.trace, Patience.WORK),
        "GetEvent": gate.unary(f"{place}/GetEvent", service.event, Patience.WORK),
        "ListTraces": gate.unary(f"{place}/ListTraces", service.list_traces, Patience.WORK),
        "ListTraceFacets": gate.unary(f"{place}/ListTraceFacets", service.list_trace_facets, Patience.WORK),
        "StreamEvents": gate.stream(f"{place}/StreamEvents", service.stream_events),
    }


def _budget_methods(served: Served, gate: Gate) -> Methods:
    service = BudgetService(served.budgets)
    place = f"/{_BUDGET}"
    return {
        "ListBudgets": gate.unary(f"{place}/ListBudgets", service.list_budgets, Patience.WORK),
        "GetBudget": gate.unary(f"{place}/GetBudget", service.budget, Patience.WORK),
        "GetHistory": gate.unary(f"{place}/GetHistory", service.history, Patience.WORK),
        "AdjustBudget": gate.unary(f"{place}/AdjustBudget", service.adjust, Patience.WORK),
        "ReleaseReservation": gate.unary(f"{place}/ReleaseReservation", service.release, Patience.WORK),
    }


def _screen_methods(served: Served, gate: Gate) -> Methods:
    service = ScreenService(served.screen, served.ids, served.work, served.publish.receipt)
    call, patience = f"/{_SCREEN}/Screen", Patience.DECISION
    return {"Screen": gate.queued(call, service.screen_texts, patience, _check(served))}


def _key_methods(served: Served, gate: Gate) -> Methods:
    service, place = KeyService(served.signing_keys), f"/{_KEYS}"
    return {
        "GetKeys": gate.unary(f"{place}/GetKeys", service.get, Patience.WORK),
        "RotateKey": gate.unary(f"{place}/RotateKey", service.rotate, Patience.WORK),
    }


def _transparency_methods(served: Served, gate: Gate) -> Methods:
    service = TransparencyService(served.log, served.publish, served.rotate)
    place = f"/{_TRANSPARENCY}"
    return {
        "GetCheckpoint": gate.unary(f"{place}/GetCheckpoint", service.checkpoint, Patience.WORK),
        "ProveInclusion": gate.unary(f"{place}/ProveInclusion", service.prove_inclusion, Patience.WORK),
        "ProveConsistency": gate.unary(f"{place}/ProveConsistency", service.prove_consistency, Patience.WORK),
        "RotateLogKey": gate.unary(f"{place}/RotateLogKey", service.rotate_key, Patience.WORK),
    }


def _evidence_methods(served: Served, gate: Gate) -> Methods:
    service = EvidenceService(served.export)
    return {"ExportEvidence": gate.stream(f"/{_EVIDENCE}/ExportEvidence", service.export_evidence)}


def _approval_methods(served: Served, gate: Gate) -> Methods:
    service = ApprovalService(served.approvals, gate, wait_room())
    place = f"/{_APPROVAL}"
    return {
        "ListApprovals": gate.unary(f"{place}/ListApprovals", service.list_approvals, Patience.WORK),
        "GetApproval": gate.unary(f"{place}/GetApproval", service.approval, Patience.WORK),
        "Vote": gate.unary(f"{place}/Vote", service.vote, Patience.WORK),
        "VoteTogether": gate.unary(f"{place}/VoteTogether", service.vote_together, Patience.WORK),
        "Withdraw": gate.unary(f"{place}/Withdraw", service.withdraw, Patience.WORK),
        "Wait": gate.stream(f"{place}/Wait", service.wait),
        "WatchWaiting": gate.stream(f"{place}/WatchWaiting", service.watch_waiting),
        "ListNotices": gate.unary(f"{place}/ListNotices", service.list_notices, Patience.WORK),
        "ResendNotice": gate.unary(f"{place}/ResendNotice", service.resend_notice, Patience.WORK),
    }


def _investigation_methods(served: Served, gate: Gate) -> Methods:
    service = InvestigationService(Investigate(served.log, json.loads))
    place = f"/{_INVESTIGATION}"
    return {
        "GetExecutionGraph": gate.unary(f"{place}/GetExecutionGraph", service.graph, Patience.WORK),
        "GetGovernanceDiff": gate.unary(f"{place}/GetGovernanceDiff", service.diff, Patience.WORK),
    }


def _retention_methods(served: Served, gate: Gate) -> Methods:
    service = RetentionService(served.retention, gate)
    place = f"/{_RETENTION}"
    return {
        "PlanRetention": gate.stream(f"{place}/PlanRetention", service.plan),
        "ApplyRetention": gate.stream(f"{place}/ApplyRetention", service.apply),
        "EraseTrace": gate.unary(f"{place}/EraseTrace", service.erase, Patience.WORK),
        "AddHold": gate.unary(f"{place}/AddHold", service.add_hold, Patience.WORK),
        "ReleaseHold": gate.unary(f"{place}/ReleaseHold", service.release_hold, Patience.WORK),
        "ListHolds": gate.unary(f"{place}/ListHolds", service.list_holds, Patience.WORK),
    }


def _replay_methods(replays: ReplayUseCases, gate: Gate) -> Methods:
    service = ReplayService(replays, gate)
    place = f"/{_REPLAY}"
    return {
        # The candidate may have to be fetched and built first.
        "StartReplay": gate.unary(f"{place}/StartReplay", service.start, Patience.WORK),
        "WatchReplay": gate.stream(f"{place}/WatchReplay", service.watch),
        "GetReplay": gate.unary(f"{place}/GetReplay", service.replay, Patience.WORK),
        "ListReplays": gate.unary(f"{place}/ListReplays", service.list_replays, Patience.WORK),
        "ListReplayResults": gate.unary(f"{place}/ListReplayResults", service.list_results, Patience.WORK),
        "ListFlipGroups": gate.unary(f"{place}/ListFlipGroups", service.list_groups, Patience.WORK),
        "CancelReplay": gate.unary(f"{place}/CancelReplay", service.cancel, Patience.WORK),
        "ExplainChange": gate.unary(f"{place}/ExplainChange", service.explain_change, Patience.WORK),
        "CompareRevisions": gate.stream(f"{place}/CompareRevisions", service.compare_revisions),
        "BisectDecisions": gate.stream(f"{place}/BisectDecisions", service.bisect_decisions),
    }


def _review_methods(judge: JudgeFlips, gate: Gate) -> Methods:
    service = ReviewService(judge)
    place = f"/{_REVIEW}"
    return {
        "JudgeFlip": gate.unary(f"{place}/JudgeFlip", service.judge_flip, Patience.WORK),
        "GetReview": gate.unary(f"{place}/GetReview", service.review, Patience.WORK),
    }


def _compliance_methods(compliance: ComplianceUseCases, gate: Gate) -> Methods:
    service = ComplianceService(compliance)
    place = f"/{_COMPLIANCE}"
    return {
        "ListFrameworks": gate.unary(f"{place}/ListFrameworks", service.frameworks, Patience.WORK),
        "GetFramework": gate.unary(f"{place}/GetFramework", service.framework, Patience.WORK),
        "CheckCompliance": gate.unary(f"{place}/CheckCompliance", service.check, Patience.WORK),
    }


def _export_methods(served: Served, gate: Gate) -> Methods:
    service = ExportService(served.records, gate)
    place = f"/{_EXPORT}"
    return {
        "ExportEvents": gate.stream(f"{place}/ExportEvents", service.events),
        "ExportTraces": gate.stream(f"{place}/ExportTraces", service.traces),
    }


def _edge_methods(edges: EdgeUseCases, gate: Gate) -> Methods:
    service = EdgeService(edges, gate)
    place = f"/{_EDGE}"
    return {
        "GetRelease": gate.unary(f"{place}/GetRelease", service.release, Patience.WORK),
        "GetBundle": gate.stream(f"{place}/GetBundle", service.bundle),
        "Enrol": gate.unary(f"{place}/Enrol", service.enrol, Patience.WORK),
        "Reconcile": gate.session(f"{place}/Reconcile", service.reconcile),
        "ListEdges": gate.unary(f"{place}/ListEdges", service.list_edges, Patience.WORK),
    }


def _rollout_methods(rollouts: Rollouts, gate: Gate) -> Methods:
    service = RolloutService(rollouts)
    place = f"/{_ROLLOUT}"
    return {
        "StartRollout": gate.unary(f"{place}/StartRollout", service.start, Patience.WORK),
        "SetCanary": gate.unary(f"{place}/SetCanary", service.canary, Patience.WORK),
        "PromoteRollout": gate.unary(f"{place}/PromoteRollout", service.promote, Patience.WORK),
        "RollBackRollout": gate.unary(f"{place}/RollBackRollout", service.roll_back, Patience.WORK),
        "AbortRollout": gate.unary(f"{place}/AbortRollout", service.abort, Patience.WORK),
        "GetRollout": gate.unary(f"{place}/GetRollout", service.current, Patience.WORK),
        "ListRollouts": gate.unary(f"{place}/ListRollouts", service.recent, Patience.WORK),
    }


def _drift_methods(drift: DriftUseCases, gate: Gate) -> Methods:
    service = DriftService(drift)
    place = f"/{_DRIFT}"
    return {
        "GetDrift": gate.unary(f"{place}/GetDrift", service.drift, Patience.WORK),
        "CheckDrift": gate.unary(f"{place}/CheckDrift", service.check, Patience.WORK),
    }
