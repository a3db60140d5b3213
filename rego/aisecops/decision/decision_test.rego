package aisecops.decision_test

import data.aisecops.decision
import data.aisecops.testing

decide(document) := answer if {
	answer := decision.decision with input as document with data.tables as testing.tables
}

test_a_granted_harmless_step_is_allowed if {
	answer := decide(testing.one("crm/read", {"id": "c-1"}))
	answer == {
		"outcome": "ALLOW",
		"findings": [],
		"steps": [{"id": "s1", "outcome": "ALLOW", "capability": "desk", "granted_by": "alice"}],
		"obligations": [],
		"sources": [{"id": "u1", "trust": "trusted"}],
		"risk_score_milli": 10,
	}
}

test_nothing_at_all_is_denied if {
	answer := decision.decision with data.tables as testing.tables
	answer.outcome == "DENY"
	answer.steps == []
	answer.findings[0].rule == "plan.malformed"
}

test_every_document_without_a_needed_part_is_denied if {
	whole := testing.one("crm/read", {"id": "c-1"})
	needed := [
		"/schema_version", "/mode", "/environment", "/principal", "/principal/id", "/now", "/now/unix_seconds", "/usage",
		"/usage/session_calls", "/plan", "/plan/hash", "/plan/steps", "/sources", "/history", "/delegation", "/approvals",
		"/request", "/grounding", "/plan/steps/0/id", "/plan/steps/0/tool", "/plan/steps/0/server", "/plan/steps/0/name",
		"/plan/steps/0/capability", "/plan/steps/0/arguments", "/plan/steps/0/depends_on", "/plan/steps/0/influenced_by",
		"/plan/steps/0/values",
	]
	every pointer in needed {
		every answer in [
			decide(json.remove(whole, [pointer])),
			decide(json.patch(whole, [{"op": "replace", "path": pointer, "value": false}])),
			decide(json.patch(whole, [{"op": "replace", "path": pointer, "value": null}])),
		] {
			answer.outcome == "DENY"
			[found.rule | some found in answer.findings] == ["plan.malformed"]
			answer.risk_score_milli == 0
		}
	}
}

test_a_document_that_is_not_an_object_is_denied if {
	every document in [[], "allow", 1, null, true, {}, {"plan": {}}, {"plan": {"steps": []}}, {"plan": {"steps": {}}}] {
		answer := decide(document)
		answer.outcome == "DENY"
		answer.steps == []
	}
}

test_steps_of_a_malformed_document_keep_their_order_and_readable_ids if {
	asked := testing.document([testing.step("crm/read", {}), testing.step("crm/read", {}), testing.step("crm/read", {})])
	answer := decide(json.patch(asked, [
		{"op": "replace", "path": "/plan/steps/1/id", "value": 7},
		{"op": "replace", "path": "/plan/steps/2/arguments", "value": "rm"},
	]))
	answer.outcome == "DENY"
	[step.id | some step in answer.steps] == ["s1", "", "s3"]
	{step.outcome | some step in answer.steps} == {"DENY"}
}

test_a_step_without_a_grant_is_denied_even_if_no_rule_says_so if {
	answer := decision.decision with input as testing.one("crm/read", {})
		with data.aisecops.rules as {}
		with data.tables as object.union(testing.tables, {"agents": {"support": {"capabilities": null}}})
	answer.outcome == "DENY"
	[found.rule | some found in answer.findings] == ["decision.not_covered"]
}

test_denial_of_one_step_leaves_the_outcome_of_the_others if {
	answer := decide(testing.document([testing.step("crm/read", {}), testing.step("crm/unheard", {})]))
	answer.outcome == "DENY"
	[step.outcome | some step in answer.steps] == ["ALLOW", "DENY"]
}
