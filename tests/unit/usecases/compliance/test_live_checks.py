"""The table of roles, held against what must be kept apart; the other checks run on a real control plane."""

from __future__ import annotations

import pytest
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.compliance.compliance_state import Standing
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL
from aisecops_server.usecases.compliance.live_checks import LIVE_CHECKS, LiveChecks

pytestmark = pytest.mark.asyncio


def checks(roles: dict[str, frozenset[Role]]) -> LiveChecks:
    return LiveChecks(
        log=None,  # type: ignore[arg-type]
        proofs=None,  # type: ignore[arg-type]
        checkpoints=None,  # type: ignore[arg-type]
        sample=None,  # type: ignore[arg-type]
        fidelity=None,  # type: ignore[arg-type]
        engines=None,  # type: ignore[arg-type]
        live=None,  # type: ignore[arg-type]
        roles=roles,
        deadline_seconds=1.0,
    )


async def separated(call: str, *roles: Role) -> Standing:
    table = {**ROLES_OF_CALL, f"/aisecops.v1.{call}": ROLES_OF_CALL[f"/aisecops.v1.{call}"] | frozenset(roles)}
    return (await checks(table)(["roles.separated"]))["roles.separated"].standing


async def test_the_table_in_force_keeps_roles_apart() -> None:
    assert await separated("ApprovalService/Vote") is Standing.PASSED


@pytest.mark.parametrize(
    ("call", "role"),
    [
        ("ApprovalService/Vote", Role.AGENT),
        ("ApprovalService/Vote", Role.PLATFORM),
        ("ApprovalService/Vote", Role.AUDITOR),
        ("BundleService/Activate", Role.APP),
        ("BundleService/Rollback", Role.AUDITOR),
        ("BudgetService/AdjustBudget", Role.AGENT),
        ("ExecutionService/RevokeGrants", Role.AUDITOR),
        ("ExecutionService/Redeem", Role.AUDITOR),
        ("DecisionService/Decide", Role.AUDITOR),
    ],
)
async def test_a_table_that_mixes_them_does_not_pass(call: str, role: Role) -> None:
    assert await separated(call, role) is Standing.FAILED


async def test_every_check_says_what_it_looks_at() -> None:
    assert [name for name, about in LIVE_CHECKS.items() if len(about) < 20 or name.count(".") != 1] == []
