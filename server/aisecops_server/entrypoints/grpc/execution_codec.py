"""From the API's messages about executions to commands, strictly, and back to messages."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from aisecops.v1 import decision_pb2, execution_service_pb2, grant_pb2

from aisecops_server.domain.callers.identity import Principal, Role
from aisecops_server.domain.decisions.decision import Severity
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.formats.identifiers import is_agent_id, is_digest, is_identifier, is_tool, is_trace_id
from aisecops_server.domain.grants.execution import ExecutionCost, ExecutionOutcome, ExecutionReport
from aisecops_server.domain.grants.grant import GrantState, StoredGrant
from aisecops_server.domain.grants.incident import PREFIX, IncidentFilter, IncidentKind
from aisecops_server.entrypoints.grpc.audit_service import event_message
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.usecases.grants.issue_grants import SignedGrant
from aisecops_server.usecases.grants.redeem_grant import Bearer, RedeemCommand
from aisecops_server.usecases.grants.report_execution import ReportCommand

_STATES = {state: grant_pb2.GrantState.Value(f"GRANT_STATE_{state.name}") for state in GrantState}
_OUTCOMES = {
    execution_service_pb2.ExecutionOutcome.Value(f"EXECUTION_OUTCOME_{outcome.name}"): outcome
    for outcome in ExecutionOutcome
}
_KEY_CHARACTERS = range(16, 129)
_KEY_ALPHABET = frozenset(string.ascii_letters + string.digits + "_.:-")
_GRANT_CHARACTERS = 96
_TOKEN_CHARACTERS = 16 * 1024
_FAILURE_CHARACTERS = 512
# Of what one call costs: beyond this somebody counts in other units.
_MOST = 10**15


def grant_message(signed: SignedGrant) -> grant_pb2.Grant:
    """Return a grant as its holder gets it."""
    grant = signed.grant
    return grant_pb2.Grant(
        grant_id=grant.id,
        token=signed.token,
        step_id=grant.step_id,
        step_index=grant.step_index,
        tool=grant.tool,
        arguments_sha256=grant.arguments_digest,
        depends_on=grant.depends_on,
        obligations=[
            decision_pb2.Obligation(
                kind=item.kind, step_id=item.step_id, parameters_json=canonical_bytes(item.parameters).decode()
            )
            for item in grant.obligations
        ],
        expires_at=timestamp(grant.expires_at_seconds * 1_000_000_000),
        redeemed=signed.redeemed,
    )


def status_message(stored: StoredGrant) -> grant_pb2.GrantStatus:
    """Return what became of a grant, for those who may not use it."""
    grant = stored.grant
    return grant_pb2.GrantStatus(
        grant_id=grant.id,
        decision_id=grant.decision_id,
        trace_id=grant.trace_id,
        agent_id=grant.agent_id,
        step_id=grant.step_id,
        step_index=grant.step_index,
        tool=grant.tool,
        arguments_sha256=grant.arguments_digest,
        state=state_number(stored.state),
        revoked=stored.revoked,
        waiting_for=stored.waiting_for,
        issued_at=timestamp(grant.issued_at_seconds * 1_000_000_000),
        expires_at=timestamp(grant.expires_at_seconds * 1_000_000_000),
    )


def state_number(state: GrantState) -> grant_pb2.GrantState.ValueType:
    """Return the number of a state."""
    return _STATES[state]


def incident_message(stored: StoredEvent) -> execution_service_pb2.Incident:
    """Return an incident with the event that proves it."""
    details: Mapping[str, Any] = stored.event.details()
    return execution_service_pb2.Incident(
        kind=stored.event.type.removeprefix(PREFIX),
        severity=details["severity"],
        message=details["message"],
        agent_id=details["agent"],
        reported_by=details["principal"],
        tool=details["tool"],
        step_id=details["step"],
        grant_id=details["grant"],
        event=event_message(stored),
    )


def redemption_key(text: str) -> str:
    """Return the key by which a redemption is known again.

    Raises:
        InvalidRequestError: it is none.
    """
    if len(text) not in _KEY_CHARACTERS or not _KEY_ALPHABET.issuperset(text):
        raise _invalid("redemption_key", "must be 16 to 128 of [A-Za-z0-9_.:-]")
    return text


def redeem_command(asked: execution_service_pb2.RedeemRequest, caller: Principal) -> RedeemCommand:
    """Return what a redemption asks for.

    Raises:
        InvalidRequestError: a field breaks the contract.
    """
    if not 0 < len(asked.token) <= _TOKEN_CHARACTERS:
        raise _invalid("token", "is not set, or too long")
    return RedeemCommand(
        caller=caller.id,
        bearer=_bearer(asked, caller),
        token=asked.token,
        key=redemption_key(asked.redemption_key),
        tool=_tool(asked.tool, "tool"),
        arguments_digest=_digest(asked.arguments_sha256, "arguments_sha256"),
    )


def report_of(asked: execution_service_pb2.ExecutionReport) -> ExecutionReport:
    """Return what a report says.

    Raises:
        InvalidRequestError: a field breaks the contract.
    """
    outcome = _OUTCOMES.get(asked.outcome)
    if outcome is None:
        raise _invalid("report.outcome", "is not set, or unknown")
    if len(asked.failure) > _FAILURE_CHARACTERS:
        raise _invalid("report.failure", f"more than {_FAILURE_CHARACTERS} characters")
    return ExecutionReport(
        outcome=outcome,
        tool=_tool(asked.tool, "report.tool"),
        arguments_digest=_digest(asked.arguments_sha256, "report.arguments_sha256"),
        result_digest=_digest(asked.result_sha256, "report.result_sha256") if asked.result_sha256 else "",
        cost=ExecutionCost(
            tokens=_amount(asked.cost.tokens, "report.cost.tokens"),
            micro_usd=_amount(asked.cost.micro_usd, "report.cost.micro_usd"),
            wall_milliseconds=_amount(asked.cost.wall_milliseconds, "report.cost.wall_milliseconds"),
        ),
        started_at_seconds=_amount(asked.started_at_seconds, "report.started_at_seconds"),
        failure=asked.failure,
    )


def report_command(asked: execution_service_pb2.ReportExecutionRequest, caller: Principal) -> ReportCommand:
    """Return what somebody tells of a call. Only a tool server may tell of another agent's.

    Raises:
        InvalidRequestError: a field breaks the contract.
    """
    agent = asked.agent_id or caller.id
    if not is_agent_id(agent) or (agent != caller.id and Role.TOOL not in caller.roles):
        raise _invalid("agent_id", "only a tool server may name another agent than itself")
    return ReportCommand(
        reporter=caller.id,
        agent_id=agent,
        report=report_of(asked.report),
        grant_id=grant_id_of(asked.grant_id) if asked.grant_id else "",
        decision_id=decision_id_of(asked.decision_id) if asked.decision_id else "",
        trace_id=_trace_id(asked.trace_id),
        step_id=_identifier(asked.step_id, "step_id") if asked.step_id else "",
    )


def incident_filter(asked: execution_service_pb2.ListIncidentsRequest) -> IncidentFilter:
    """Return how a list of incidents is narrowed.

    Raises:
        InvalidRequestError: a field breaks the contract.
    """
    if asked.agent_id and not is_agent_id(asked.agent_id):
        raise _invalid("agent_id", "not an agent id")
    return IncidentFilter(
        kind=_one_of(asked.kind, tuple(IncidentKind), "kind"),
        severity=_one_of(asked.severity, tuple(Severity), "severity"),
        agent_id=asked.agent_id,
        trace_id=_trace_id(asked.trace_id),
    )


def grant_id_of(text: str) -> str:
    """Return the id of a grant.

    Raises:
        InvalidRequestError: it is none.
    """
    if not 0 < len(text) <= _GRANT_CHARACTERS or not _KEY_ALPHABET.issuperset(text):
        raise _invalid("grant_id", "not the id of a grant")
    return text


def decision_id_of(text: str) -> str:
    """Return the id of a decision.

    Raises:
        InvalidRequestError: it is none.
    """
    return _identifier(text, "decision_id")


def _bearer(asked: execution_service_pb2.RedeemRequest, caller: Principal) -> Bearer:
    if not asked.HasField("presented_by"):
        if Role.AGENT not in caller.roles:
            raise _invalid("presented_by", "a tool server says who presented the grant")
        return Bearer(caller.id, caller.thumbprint)
    if Role.TOOL not in caller.roles:
        raise _invalid("presented_by", "an agent redeems its own grants only")
    seen = asked.presented_by
    if not seen.agent_id and not seen.thumbprint:
        raise _invalid("presented_by", "says nothing of the caller")
    if seen.agent_id and not is_agent_id(seen.agent_id):
        raise _invalid("presented_by.agent_id", "not an agent id")
    return Bearer(seen.agent_id, _digest(seen.thumbprint, "presented_by.thumbprint") if seen.thumbprint else "")


def _tool(text: str, field: str) -> str:
    if not is_tool(text):
        raise _invalid(field, "not a qualified tool name `server/tool`")
    return text


def _digest(text: str, field: str) -> str:
    if not is_digest(text):
        raise _invalid(field, "not a lower-case hexadecimal SHA-256")
    return text


def _identifier(text: str, field: str) -> str:
    if not is_identifier(text):
        raise _invalid(field, "not an identifier")
    return text


def _trace_id(text: str) -> str:
    if text and not is_trace_id(text):
        raise _invalid("trace_id", "not 32 lower-case hexadecimal digits")
    return text


def _amount(value: int, field: str) -> int:
    if not 0 <= value <= _MOST:
        raise _invalid(field, f"must be 0 to {_MOST}")
    return value


def _one_of(text: str, known: tuple[str, ...], field: str) -> str:
    if text and text not in known:
        raise _invalid(field, f"must be one of {', '.join(known)}")
    return text


def _invalid(field: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {why}", field=field)
