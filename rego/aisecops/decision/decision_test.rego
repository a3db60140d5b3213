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

held := testing.one("crm/delete", {"id": "c-1"})

test_a_demand_for_approval_holds_the_step if {
	answer := decide(held)
	answer.outcome == "REQUIRE_APPROVAL"
	[step.outcome | some step in answer.steps] == ["REQUIRE_APPROVAL"]
}

test_an_approval_turns_the_demand_into_a_remark if {
	granted := {"id": "a-1", "plan_hash": "hash-1", "approvers": ["bob"], "expires_at_seconds": 1767225601}
	answer := decide(testing.but(held, {"approvals": [granted]}))
	answer.outcome == "ALLOW"
	[finding.effect | some finding in answer.findings] == ["warn"]
}

test_an_approval_does_not_lift_a_denial if {
	granted := {"id": "a-1", "plan_hash": "hash-1", "approvers": ["bob"], "expires_at_seconds": 1767225601}
	answer := decide(testing.from_stranger(testing.but(held, {"approvals": [granted]})))
	answer.outcome == "DENY"
}

test_a_finding_about_the_whole_plan_concerns_every_step if {
	answer := decide(testing.but(testing.document([testing.step("crm/read", {}), testing.step("crm/read", {})]), {"environment": "staging"}))
	[step.outcome | some step in answer.steps] == ["DENY", "DENY"]
}

test_what_a_tool_obliges_to_is_said_for_its_step if {
	answer := decide(testing.document([testing.step("crm/read", {}), testing.step("mail/send", {"to": "a@example.com"})]))
	answer.obligations == [{"kind": "redact", "step": "s2", "parameters": {"fields": ["card"]}}]
}

test_an_effect_that_is_none_of_ours_denies if {
	odd := {"plan": {"odd": {"findings": [{"effect": "applaud", "step": "s1"}]}}}
	answer := decision.decision with input as testing.one("crm/read", {})
		with data.aisecops.rules as odd
		with data.tables as testing.tables
	answer.outcome == "DENY"
}

test_without_tables_nothing_is_allowed if {
	answer := decision.decision with input as testing.one("crm/read", {}) with data.tables as {}
	answer.outcome == "DENY"
}

test_without_a_factor_of_risk_nothing_is_allowed if {
	answer := decision.decision with input as testing.one("crm/read", {})
		with data.tables as object.union(testing.tables, {"risk": {"call_milli": {"read": null}}})
	answer.outcome == "DENY"
	[finding.rule | some finding in answer.findings] == ["plan.malformed"]
	answer.steps == []
}
