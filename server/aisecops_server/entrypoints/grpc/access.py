"""Who may call what: one table. A call that the table does not list is refused."""

from __future__ import annotations

from collections.abc import Mapping

from aisecops_server.domain.callers.identity import Principal, Role
from aisecops_server.domain.errors import NotPermittedError

_DECIDERS = frozenset({Role.AGENT})
_TRIERS = frozenset({Role.AGENT, Role.APP, Role.SECURITY, Role.PLATFORM})
_CHANGERS = frozenset({Role.SECURITY, Role.PLATFORM})
_READERS = frozenset({Role.AUDITOR, Role.SECURITY, Role.SECOPS, Role.PLATFORM})
# Who runs the control plane connects it to other systems, and needs no texts of anybody for that.
_PAYLOAD_READERS = _READERS - {Role.PLATFORM}
_ENFORCERS = frozenset({Role.AGENT, Role.TOOL})
_REVOKERS = _CHANGERS | {Role.SECOPS}
_EXPLAINERS = _READERS | {Role.AGENT, Role.APP}
# Who runs the control plane applies what policy says of keeping. What is erased beyond that, and what is held, is
# decided by those who answer for it; who runs the machine does neither.
_ERASERS = frozenset({Role.SECURITY})
_HOLDERS = frozenset({Role.SECURITY, Role.SECOPS})
_REPLAYERS = frozenset({Role.SECURITY, Role.PLATFORM, Role.AUDITOR, Role.APP})
_EDGES = frozenset({Role.EDGE})
_GATEWAYS = frozenset({Role.GATEWAY})
# Who runs the control plane or writes agents does not also agree to what they do.
_VOTERS = frozenset({Role.SECOPS, Role.SECURITY})
# Nor do they review what a change of policy lets through; who audits only reads.
_REVIEWERS = _VOTERS

ROLES_OF_CALL: Mapping[str, frozenset[Role]] = {
    "/aisecops.v1.DecisionService/Decide": _DECIDERS,
    "/aisecops.v1.DecisionService/DecideBatch": _DECIDERS,
    "/aisecops.v1.DecisionService/Session": _DECIDERS,
    "/aisecops.v1.DecisionService/DryRun": _TRIERS,
    "/aisecops.v1.DecisionService/Explain": _EXPLAINERS,
    "/aisecops.v1.BundleService/ListRevisions": _READERS,
    "/aisecops.v1.BundleService/GetRevision": _READERS,
    "/aisecops.v1.BundleService/GetPolicyFile": _READERS,
    "/aisecops.v1.BundleService/DiffRevisions": _READERS,
    "/aisecops.v1.BundleService/GetStatus": _READERS,
    "/aisecops.v1.BundleService/Activate": _CHANGERS,
    "/aisecops.v1.BundleService/Rollback": _CHANGERS,
    "/aisecops.v1.BundleService/Sync": _CHANGERS,
    "/aisecops.v1.ExecutionService/Redeem": _ENFORCERS,
    "/aisecops.v1.ExecutionService/Complete": _DECIDERS,
    "/aisecops.v1.ExecutionService/ReportExecution": _ENFORCERS,
    "/aisecops.v1.ExecutionService/ListGrants": _READERS,
    "/aisecops.v1.ExecutionService/RevokeGrants": _REVOKERS,
    "/aisecops.v1.ExecutionService/GetGrantKeys": frozenset(Role),
    "/aisecops.v1.ExecutionService/RotateGrantKey": _CHANGERS,
    "/aisecops.v1.ExecutionService/ListIncidents": _READERS,
    "/aisecops.v1.ExecutionService/StreamIncidents": _READERS,
    "/aisecops.v1.BudgetService/ListBudgets": _EXPLAINERS,
    "/aisecops.v1.BudgetService/GetBudget": _EXPLAINERS,
    "/aisecops.v1.BudgetService/GetHistory": _EXPLAINERS,
    "/aisecops.v1.BudgetService/AdjustBudget": _CHANGERS,
    "/aisecops.v1.BudgetService/ReleaseReservation": _CHANGERS,
    "/aisecops.v1.AgentService/ListAgents": _READERS,
    "/aisecops.v1.AgentService/GetAgent": _READERS,
    "/aisecops.v1.AgentService/GetMaturity": _READERS,
    "/aisecops.v1.AgentService/ListTools": _DECIDERS,
    "/aisecops.v1.AuditService/GetTrace": _READERS,
    "/aisecops.v1.AuditService/GetEvent": _READERS,
    "/aisecops.v1.AuditService/ListTraces": _READERS,
    "/aisecops.v1.AuditService/ListTraceFacets": _READERS,
    "/aisecops.v1.AuditService/StreamEvents": _READERS,
    "/aisecops.v1.EvidenceService/ExportEvidence": _READERS,
    "/aisecops.v1.ExportService/ExportEvents": _READERS,
    "/aisecops.v1.ExportService/ExportTraces": _READERS,
    "/aisecops.v1.ComplianceService/ListFrameworks": _READERS,
    "/aisecops.v1.ComplianceService/GetFramework": _READERS,
    "/aisecops.v1.ComplianceService/CheckCompliance": _READERS,
    "/aisecops.v1.RetentionService/PlanRetention": _READERS,
    "/aisecops.v1.RetentionService/ApplyRetention": _CHANGERS,
    "/aisecops.v1.RetentionService/EraseTrace": _ERASERS,
    "/aisecops.v1.RetentionService/AddHold": _HOLDERS,
    "/aisecops.v1.RetentionService/ReleaseHold": _HOLDERS,
    "/aisecops.v1.RetentionService/ListHolds": _READERS,
    "/aisecops.v1.DriftService/GetDrift": _READERS,
    "/aisecops.v1.DriftService/CheckDrift": _REPLAYERS - {Role.APP},
    "/aisecops.v1.InvestigationService/GetExecutionGraph": _READERS,
    "/aisecops.v1.InvestigationService/GetGovernanceDiff": _READERS,
    "/aisecops.v1.ReplayService/StartReplay": _REPLAYERS,
    "/aisecops.v1.ReplayService/CancelReplay": _REPLAYERS,
    "/aisecops.v1.ReplayService/WatchReplay": _READERS | _REPLAYERS,
    "/aisecops.v1.ReplayService/GetReplay": _READERS | _REPLAYERS,
    "/aisecops.v1.ReplayService/ListReplays": _READERS | _REPLAYERS,
    "/aisecops.v1.ReplayService/ListReplayResults": _READERS | _REPLAYERS,
    "/aisecops.v1.ReplayService/ListFlipGroups": _READERS | _REPLAYERS,
    # It tells what would get past a rule, so it is not for those who read only their own.
    "/aisecops.v1.ReplayService/ExplainChange": _READERS,
    "/aisecops.v1.ReplayService/CompareRevisions": _READERS,
    "/aisecops.v1.ReplayService/BisectDecisions": _READERS,
    "/aisecops.v1.ReviewService/JudgeFlip": _REVIEWERS,
    "/aisecops.v1.ReviewService/GetReview": _READERS | _REPLAYERS,
    "/aisecops.v1.ScreenService/Screen": _DECIDERS,
    "/aisecops.v1.TransparencyService/GetCheckpoint": _EXPLAINERS,
    "/aisecops.v1.TransparencyService/ProveInclusion": _READERS,
    "/aisecops.v1.TransparencyService/ProveConsistency": _EXPLAINERS,
    "/aisecops.v1.TransparencyService/RotateLogKey": _CHANGERS,
    "/aisecops.v1.KeyService/GetKeys": frozenset(Role),
    "/aisecops.v1.KeyService/RotateKey": _CHANGERS,
    "/aisecops.v1.ApprovalService/ListApprovals": _READERS | {Role.AGENT},
    "/aisecops.v1.ApprovalService/GetApproval": _READERS | {Role.AGENT},
    "/aisecops.v1.ApprovalService/Wait": _READERS | {Role.AGENT},
    "/aisecops.v1.ApprovalService/WatchWaiting": _READERS,
    "/aisecops.v1.ApprovalService/ListNotices": _READERS,
    "/aisecops.v1.ApprovalService/ResendNotice": _REVOKERS,
    "/aisecops.v1.ApprovalService/Vote": _VOTERS,
    "/aisecops.v1.ApprovalService/VoteTogether": _VOTERS,
    "/aisecops.v1.ApprovalService/Withdraw": _VOTERS | {Role.AGENT},
    "/aisecops.v1.RolloutService/StartRollout": _CHANGERS,
    "/aisecops.v1.RolloutService/SetCanary": _CHANGERS,
    "/aisecops.v1.RolloutService/PromoteRollout": _CHANGERS,
    "/aisecops.v1.RolloutService/RollBackRollout": _CHANGERS,
    "/aisecops.v1.RolloutService/AbortRollout": _CHANGERS,
    "/aisecops.v1.RolloutService/GetRollout": _READERS,
    "/aisecops.v1.RolloutService/ListRollouts": _READERS,
    "/aisecops.v1.EdgeService/GetRelease": _EDGES,
    "/aisecops.v1.EdgeService/GetBundle": _EDGES,
    "/aisecops.v1.EdgeService/Enrol": _EDGES,
    "/aisecops.v1.EdgeService/Reconcile": _EDGES,
    "/aisecops.v1.EdgeService/ListEdges": _READERS,
}
# Of an API that is not ours, so it stands in none of our protos.
CHECK = "/envoy.service.auth.v3.Authorization/Check"
ROLES_OF_FOREIGN_CALL: Mapping[str, frozenset[Role]] = {CHECK: _GATEWAYS}


def require(principal: Principal, call: str) -> None:
    """Let ``principal`` make ``call``, or refuse.

    Raises:
        NotPermittedError: none of its roles includes the call.
    """
    allowed = ROLES_OF_CALL.get(call) or ROLES_OF_FOREIGN_CALL.get(call, frozenset())
    if principal.roles.isdisjoint(allowed):
        needs = ", ".join(sorted(role.value for role in allowed)) or "nobody"
        raise NotPermittedError(
            f"{call.rpartition('/')[2]} needs the role {needs}",
            hint="Ask with a credential that has it",
            needs=needs,
            why="role",
            principal=principal.id,
        )


def is_reader(principal: Principal) -> bool:
    """Return whether a role of ``principal`` is that of somebody who reads what others said and did."""
    return not principal.roles.isdisjoint(_READERS)


def require_payload(principal: Principal) -> None:
    """Let ``principal`` have texts of agents and people handed on to another system, or refuse.

    Raises:
        NotPermittedError: none of its roles includes that.
    """
    if principal.roles.isdisjoint(_PAYLOAD_READERS):
        needs = ", ".join(sorted(role.value for role in _PAYLOAD_READERS))
        raise NotPermittedError(
            f"to export payload needs the role {needs}",
            hint="Export without payload, or ask with a credential that has it",
            needs=needs,
            why="role",
            principal=principal.id,
        )


def reads_everything(principal: Principal) -> bool:
    """Return whether ``principal`` may read what others did; everybody else reads only their own."""
    return not principal.roles.isdisjoint(_READERS)


def votes(principal: Principal) -> bool:
    """Return whether ``principal`` may answer requests for approval, and so take back those of others."""
    return not principal.roles.isdisjoint(_VOTERS)
