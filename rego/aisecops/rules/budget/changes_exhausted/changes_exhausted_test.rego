package aisecops.rules.budget.changes_exhausted_test

import data.aisecops.rules.budget.changes_exhausted
import data.aisecops.testing

findings(document) := found if {
	found := changes_exhausted.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "budget.changes_exhausted",
	"title": "Changes used up",
	"message": "The session would make more changes than the agent's budget gives it.",
	"effect": "deny",
	"severity": "medium",
	"remedy": "Propose fewer changing steps, or raise session_changes of the agent's profile in data/budgets.yaml.",
	"step": step,
	"facts": facts,
}

after(changes) := testing.but(
	testing.document([testing.step("crm/read", {}), testing.step("crm/update", {})]),
	{"history": [{"step_id": "h", "tool": "crm/update", "observed": true} | some _ in numbers.range(1, changes)]},
)

test_one_change_too_many_is_found if {
	findings(after(10)) == {finding("", [{"pointer": "/plan/steps/1/tool", "value": "crm/update"}])}
}

test_the_last_change_is_not_found if {
	findings(after(9)) == set()
}

test_reading_goes_on_after_the_last_change if {
	findings(testing.but(after(10), {"plan": testing.one("crm/read", {}).plan})) == set()
}

test_a_past_call_of_an_unknown_tool_counts_as_a_change if {
	past := {"history": [{"step_id": "h", "tool": "crm/unheard", "observed": true} | some _ in numbers.range(1, 10)]}
	count(findings(testing.but(after(1), past))) == 1
}

test_an_unknown_agent_has_no_budget_to_compare if {
	findings(testing.from_stranger(after(10))) == set()
}
