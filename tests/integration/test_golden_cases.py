from __future__ import annotations

from aisecops_server.domain.decision import Effect

from tests.policy_cases import cases, decide


def test_every_golden_case_gets_the_decision_that_it_names(tmp_path):
    chosen = cases()
    differences = []
    for case, conclusion in zip(chosen, decide(chosen, tmp_path), strict=True):
        expected = case["expect"]
        rules = sorted({finding.rule for finding in conclusion.findings if finding.effect is not Effect.WARN})
        agrees = (
            conclusion.outcome == expected.get("outcome", conclusion.outcome)
            and conclusion.outcome != expected.get("outcome_not")
            and rules == expected.get("rules", rules)
            and set(expected.get("includes", ())) <= set(rules)
        )
        if not agrees:
            differences.append((case["case"], conclusion.outcome.value, rules))
    assert differences == []


def test_the_cases_cover_every_outcome_and_every_kind_of_agent():
    held = cases()
    assert {case["expect"].get("outcome") for case in held} >= {"ALLOW", "DENY", "REQUIRE_APPROVAL"}
    assert len({case["case"] for case in held}) == len(held)
    assert {case["agent"] for case in held} >= {
        "support-assistant",
        "operations-assistant",
        "finance-assistant",
        "coding-assistant",
        "workspace-assistant",
        "slack-assistant",
    }
