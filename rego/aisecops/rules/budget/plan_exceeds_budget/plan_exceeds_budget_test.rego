package aisecops.rules.budget.plan_exceeds_budget_test

import data.aisecops.rules.budget.plan_exceeds_budget
import data.aisecops.testing

findings(document) := found if {
	found := plan_exceeds_budget.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "budget.plan_exceeds_budget",
	"title": "Plan longer than the budget",
	"message": "The plan needs more calls than the session has left.",
	"effect": "deny",
	"severity": "medium",
	"remedy": "Propose fewer steps, or raise session_calls of the agent's profile in data/budgets.yaml.",
	"step": step,
	"facts": facts,
}

after(calls) := testing.but(
	testing.document([testing.step("crm/read", {}), testing.step("crm/read", {})]),
	{"usage": {"session_calls": calls}},
)

test_two_steps_with_one_call_left_are_found if {
	findings(after(19)) == {finding("", [{"pointer": "/usage/session_calls", "value": 19}])}
}

test_two_steps_with_two_calls_left_are_not_found if {
	findings(after(18)) == set()
}

test_a_used_up_session_is_left_to_its_own_rule if {
	findings(after(20)) == set()
}

test_an_unknown_agent_has_no_budget_to_compare if {
	findings(testing.from_stranger(after(19))) == set()
}
