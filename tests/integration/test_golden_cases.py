from __future__ import annotations

from aisecops_server.domain.policy.golden_case import difference

from tests.scenes.policy.policy_cases import cases, decide


def test_every_golden_case_gets_the_decision_that_it_names(tmp_path):
    chosen = cases()
    decided = zip(chosen, decide(chosen, tmp_path), strict=True)
    assert [(case.case, problem) for case, conclusion in decided if (problem := difference(case, conclusion))] == []


def test_the_cases_cover_every_outcome_and_every_kind_of_agent():
    held = cases()
    assert {case.expect.outcome for case in held} >= {"ALLOW", "DENY", "REQUIRE_APPROVAL"}
    assert {case.agent for case in held} >= {
        "support-assistant",
        "operations-assistant",
        "finance-assistant",
        "coding-assistant",
        "workspace-assistant",
        "slack-assistant",
    }
