package aisecops.rules.approval.amount_over_limit_test

import data.aisecops.rules.approval.amount_over_limit
import data.aisecops.testing

findings(document) := found if {
	found := amount_over_limit.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "approval.amount_over_limit",
	"title": "Amount over the limit",
	"message": "The amount is above what the agent may move without people, or is no amount at all.",
	"effect": "require_approval",
	"severity": "high",
	"remedy": "Ask for approval of exactly this plan, or stay below the limit in data/approvals.yaml.",
	"step": step,
	"facts": facts,
}

refund(amount) := testing.one("crm/refund", {"customer": "c-1", "amount": amount})

test_an_amount_above_the_limit_is_found if {
	findings(refund(101)) == {finding("s1", [{"pointer": "/plan/steps/0/arguments/amount", "value": 101}])}
}

test_an_amount_that_is_no_number_or_negative_is_found if {
	every amount in ["5", null, [], true, -5] {
		findings(refund(amount)) == {finding("s1", [{"pointer": "/plan/steps/0/arguments/amount", "value": amount}])}
	}
}

test_a_missing_amount_is_found if {
	count(findings(testing.one("crm/refund", {"customer": "c-1"}))) == 1
}

test_an_amount_at_the_limit_is_not_found if {
	findings(refund(100)) == set()
}

test_a_tool_without_an_amount_is_not_found if {
	findings(testing.one("crm/delete", {"amount": 101})) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(refund(101)))) == 1
}
