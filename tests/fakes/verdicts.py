"""Whole answers of an engine, from what matters to a test: the rest says that nothing special happened."""

from __future__ import annotations

from typing import Any

DEMAND = {"approvers_required": 1, "groups": [], "expires_seconds": 900}


def whole(result: dict[str, Any]) -> dict[str, Any]:
    """Return ``result`` with every part that it does not have, so that it agrees with itself and enforces."""
    findings = [{"would_effect": finding["effect"], **finding} for finding in result.get("findings", [])]
    steps = [{"capability": "", "granted_by": "", "grant": "", **step} for step in result["steps"]]
    held = [step["id"] for step in steps if step["outcome"] == "REQUIRE_APPROVAL"]
    return {
        "obligations": [],
        "sources": [],
        "risk_score_milli": 0,
        "charges": [],
        "mode": "enforce",
        "would_outcome": result["outcome"],
        "approval": {**DEMAND, "steps": held} if result["outcome"] == "REQUIRE_APPROVAL" else None,
        "approved_by": "",
        **result,
        "findings": findings,
        "steps": steps,
    }
