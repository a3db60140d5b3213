package aisecops.rules.approval.tool_requires_approval_test

import data.aisecops.rules.approval.tool_requires_approval
import data.aisecops.testing

findings(document) := found if {
	found := tool_requires_approval.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "approval.tool_requires_approval",
	"title": "Tool requires approval",
	"message": "People must agree to every call of this tool.",
	"effect": "require_approval",
	"severity": "medium",
	"remedy": "Ask for approval of exactly this plan.",
	"step": step,
	"facts": facts,
}

test_a_tool_that_always_needs_people_is_found if {
	findings(testing.one("crm/delete", {"id": "c-1"})) == {finding("s1", [{
		"pointer": "/plan/steps/0/tool",
		"value": "crm/delete",
	}])}
}

test_a_tool_that_needs_them_above_an_amount_only_is_not_found if {
	findings(testing.one("crm/refund", {"amount": 5})) == set()
}

test_a_tool_without_an_entry_is_not_found if {
	findings(testing.one("crm/read", {})) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(testing.one("crm/delete", {})))) == 1
}
