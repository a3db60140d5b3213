"""An engine's answer that can be read in two ways is no decision."""

from __future__ import annotations

import pytest
from aisecops_server.domain.decision import Conclusion, Verdict, conclude
from aisecops_server.domain.errors import NoDecisionError
from aisecops_server.domain.plan import StepId


def concluded(*sources: tuple[str, str]) -> Conclusion:
    result = {
        "outcome": "ALLOW",
        "findings": [],
        "steps": [{"id": "s1", "outcome": "ALLOW", "capability": "tickets", "granted_by": "table"}],
        "obligations": [],
        "sources": [{"id": source, "trust": trust} for source, trust in sources],
        "risk_score_milli": 0,
    }
    return conclude(Verdict(result, "r", "v", 1), step_ids=[StepId("s1")], expected_revision="r")


def test_the_trust_of_a_source_is_settled_once() -> None:
    assert len(concluded(("prompt", "trusted"), ("page", "external")).sources) == 2
    with pytest.raises(NoDecisionError, match="trust of a source twice"):
        concluded(("page", "external"), ("prompt", "trusted"), ("page", "trusted"))
