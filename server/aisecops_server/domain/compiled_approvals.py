"""From the approvals that people write to what rules look up: when, by whom, for how long; and who is who."""

from __future__ import annotations

from aisecops_server.domain.approval_tables import ApprovalEntry, ApprovalsTable
from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.policy_tables import People


def general_approval(table: ApprovalsTable) -> dict[str, JsonValue]:
    """Return what an approval takes where nothing special is said."""
    return {
        "approvers_required": table.approvers_required,
        "groups": dict.fromkeys(table.groups, True),
        "expires_seconds": table.expires_seconds,
    }


def tool_approval(tool: str, table: ApprovalsTable) -> dict[str, JsonValue]:
    """Return when people must agree to a call of a tool, and what their approval takes."""
    entry = table.tools.get(tool) or ApprovalEntry.model_construct()
    groups = table.groups if entry.groups is None else entry.groups
    return {
        "always": entry.always,
        "amount_argument": entry.amount_argument,
        "amount_over": entry.amount_over,
        "approvers_required": entry.approvers_required or table.approvers_required,
        "groups": dict.fromkeys(groups, True),
        "expires_seconds": entry.expires_seconds or table.expires_seconds,
    }


def people(table: People) -> dict[str, JsonValue]:
    """Return each person with their teams and groups as keys."""
    return {
        name: {
            **person.model_dump(mode="json"),
            "teams": dict.fromkeys(person.teams, True),
            "groups": dict.fromkeys(person.groups, True),
        }
        for name, person in table.root.items()
    }


def person_names(table: People) -> dict[str, JsonValue]:
    """Return by which name a person is counted, for each of their names without regard to case."""
    return {known.lower(): name for name, person in table.root.items() for known in (name, *person.aliases)}
