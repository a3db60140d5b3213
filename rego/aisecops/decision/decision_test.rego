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
		"steps": [{"id": "s1", "outcome": "ALLOW", "capability": "desk", "granted_by": "alice", "grant": "support#desk"}],
		"obligations": [],
		"sources": [{"id": "u1", "trust": "trusted"}],
		"risk_score_milli": 10,
		"charges": [],
		"mode": "enforce",
		"would_outcome": "ALLOW",
		"approval": null,
		"approved_by": "",
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

granted := testing.approved_by(["bob"], "approval.tool_requires_approval", "s1")

test_an_approval_turns_the_demand_into_a_remark if {
	answer := decide(testing.but(held, {"approvals": [granted]}))
	answer.outcome == "ALLOW"
	[finding.effect | some finding in answer.findings] == ["warn"]
}

test_a_demand_that_people_did_not_see_still_holds_the_step if {
	unseen := object.union(granted, {"findings": [{"rule": "approval.amount_over_limit", "step": "s1"}]})
	answer := decide(testing.but(held, {"approvals": [unseen]}))
	answer.outcome == "REQUIRE_APPROVAL"
	answer.approved_by == ""
}

test_an_approval_does_not_lift_a_denial if {
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

# METADATA
# description: The decision where the modes table says something of rules, and of the agent.
in_modes(document, mode, rules) := answer if {
	tables := object.union(testing.tables, {
		"agents": {"support": object.union(testing.tables.agents.support, {"mode": mode})},
		"modes": {"rules": rules},
	})
	answer := decision.decision with input as document with data.tables as tables
}

unheard := testing.document([testing.step("crm/read", {}), testing.step("crm/unheard", {})])

test_an_observed_agent_is_stopped_by_nothing_and_told_what_would_have_been if {
	answer := in_modes(unheard, "observe", {})
	answer.mode == "observe"
	answer.outcome == "ALLOW"
	answer.would_outcome == "DENY"
	[step.outcome | some step in answer.steps] == ["ALLOW", "ALLOW"]
	{finding.effect | some finding in answer.findings} == {"warn"}
	{finding.would_effect | some finding in answer.findings} == {"deny"}
	answer.approval == null
}

test_an_agent_that_is_tried_is_decided_as_if_it_counted if {
	answer := in_modes(unheard, "dry_run", {})
	answer.mode == "dry_run"
	answer.outcome == "DENY"
	{finding.effect | some finding in answer.findings} == {"deny"}
}

test_an_observed_rule_stops_nothing_for_anybody if {
	observed := in_modes(held, "enforce", {"approval.tool_requires_approval": "observe"})
	observed.mode == "enforce"
	observed.outcome == "ALLOW"
	observed.would_outcome == "REQUIRE_APPROVAL"
	in_modes(held, "enforce", {"approval": "observe"}).outcome == "ALLOW"
	in_modes(held, "enforce", {"approval.amount_over_limit": "observe"}).outcome == "REQUIRE_APPROVAL"
}

test_a_rule_counts_before_its_category_and_both_before_the_agent if {
	in_modes(held, "observe", {"approval": "enforce"}).outcome == "REQUIRE_APPROVAL"
	in_modes(held, "observe", {"approval.tool_requires_approval": "enforce"}).outcome == "REQUIRE_APPROVAL"
	ruled := {"approval": "enforce", "approval.tool_requires_approval": "observe"}
	in_modes(held, "enforce", ruled).outcome == "ALLOW"
}

test_observed_capabilities_open_what_no_grant_covers if {
	answer := in_modes(unheard, "enforce", {"capability": "observe", "mcp": "observe"})
	answer.outcome == "ALLOW"
	answer.would_outcome == "DENY"
	not "decision.not_covered" in {finding.rule | some finding in answer.findings}
}

test_a_stranger_and_a_malformed_document_are_denied_in_every_mode if {
	rules := {"identity": "observe", "plan": "observe", "decision": "observe", "identity.agent_unregistered": "observe"}
	stranger := in_modes(testing.from_stranger(held), "observe", rules)
	stranger.outcome == "DENY"
	stranger.mode == "enforce"
	malformed := in_modes(json.remove(held, ["/plan/hash"]), "observe", rules)
	malformed.outcome == "DENY"
	malformed.mode == "enforce"
}

test_what_an_approval_takes_is_said_when_one_is_required if {
	decide(held).approval == {"approvers_required": 1, "groups": [], "expires_seconds": 900, "steps": ["s1"]}
	decide(testing.one("crm/read", {})).approval == null
}

test_the_approval_that_lifted_a_demand_is_named if {
	decide(testing.but(held, {"approvals": [granted]})).approved_by == "apr-1"
	decide(testing.but(held, {"approvals": []})).approved_by == ""
	lifted_nothing := testing.but(testing.one("crm/read", {}), {"approvals": [granted]})
	decide(lifted_nothing).approved_by == ""
}

test_a_finding_that_names_no_rule_is_not_lost if {
	odd := {"plan": {"odd": {"findings": [{"step": "s1"}]}}}
	answer := decision.decision with input as testing.one("crm/read", {})
		with data.aisecops.rules as odd
		with data.tables as testing.tables
	answer.outcome == "DENY"
}

# METADATA
# description: The decision where approvals of two tools take different things.
where_approvals_take(document, deleting, refunding) := answer if {
	tables := object.union(testing.tables, {
		"tools": {"crm/refund": {"approval": {"always": true}}},
		"approvals": {"tools": {
			"crm/delete": testing.approval(deleting),
			"crm/refund": testing.approval(refunding),
		}},
	})
	answer := decision.decision with input as document with data.tables as tables
}

both := testing.document([
	testing.step("crm/read", {}),
	testing.step("crm/delete", {"id": "c-1"}),
	testing.step("crm/refund", {"customer": "c-1", "amount": 5}),
])

test_an_approval_takes_the_most_that_any_of_its_steps_does if {
	answer := where_approvals_take(
		both,
		{"approvers_required": 2, "expires_seconds": 600, "groups": {"treasury": true, "releases": true}},
		{"approvers_required": 1, "expires_seconds": 700, "groups": {"treasury": true}},
	)
	answer.outcome == "REQUIRE_APPROVAL"
	answer.approval == {
		"approvers_required": 2,
		"groups": ["treasury"],
		"expires_seconds": 600,
		"steps": ["s2", "s3"],
	}
}

test_a_group_that_only_some_steps_ask_for_is_asked_for if {
	where_approvals_take(both, {"groups": {"treasury": true}}, {}).approval.groups == ["treasury"]
}

test_a_plan_that_no_group_may_approve_whole_is_denied if {
	answer := where_approvals_take(both, {"groups": {"treasury": true}}, {"groups": {"releases": true}})
	answer.outcome == "DENY"
	answer.approval == null
	denials := [finding | some finding in answer.findings; finding.effect == "deny"]
	[finding.rule | some finding in denials] == ["decision.not_approvable"]
	[fact.value | some fact in denials[0].facts] == ["crm/delete", "crm/refund"]
}

test_an_approval_that_is_short_of_one_demand_lifts_none if {
	short := testing.approved_by(["bob"], "approval.tool_requires_approval", "s2")
	answer := where_approvals_take(testing.but(both, {"approvals": [short]}), {"approvers_required": 2}, {})
	answer.outcome == "REQUIRE_APPROVAL"
	answer.approval.steps == ["s2", "s3"]
	answer.approval.approvers_required == 2
	answer.approved_by == ""
	asked := object.union(short, {"findings": array.concat(short.findings, [{
		"rule": "approval.tool_requires_approval",
		"step": "s3",
	}])})
	whole := where_approvals_take(testing.but(both, {"approvals": [asked]}), {}, {})
	whole.outcome == "ALLOW"
	whole.approved_by == "apr-1"
}

test_what_the_plan_takes_from_limits_is_charged if {
	asked := testing.counted(testing.one("crm/read", {"id": "c-1"}), {})
	tables := testing.limiting([testing.limit("agent", "support", "calls", "day", 5)], {})
	answer := decision.decision with input as asked with data.tables as tables
	[[charge.amount, charge.limit, charge.enforced] | some charge in answer.charges] == [[1, 5, true]]
}

test_an_exhausted_budget_denies_and_is_only_told_where_it_is_observed if {
	asked := testing.counted(held, {"agent:support/calls/day": testing.counter(5, 0)})
	tables := testing.limiting([testing.limit("agent", "support", "calls", "day", 5)], {})
	denied := decision.decision with input as asked with data.tables as tables
	denied.outcome == "DENY"
	observed := decision.decision with input as asked
		with data.tables as object.union(tables, {"modes": {"rules": {"budget": "observe"}}})
	observed.outcome == "REQUIRE_APPROVAL"
	[charge.enforced | some charge in observed.charges] == [false]
}

test_where_nothing_is_observed_findings_count_as_they_are if {
	tables := object.union(testing.tables, {"modes": {"observed": false}})
	answer := decision.decision with input as held with data.tables as tables
	answer.outcome == "REQUIRE_APPROVAL"
	[finding.would_effect | some finding in answer.findings] == ["require_approval"]
	odd := {"plan": {"odd": {"findings": [{"step": "s1"}, {"rule": "a.b", "effect": null}]}}}
	lost := decision.decision with input as held with data.tables as tables with data.aisecops.rules as odd
	lost.outcome == "DENY"
	count(lost.findings) == 2
}
