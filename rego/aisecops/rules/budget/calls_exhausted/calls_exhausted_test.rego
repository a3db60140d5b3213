package aisecops.rules.budget.calls_exhausted_test

import data.aisecops.rules.budget.calls_exhausted
import data.aisecops.testing

findings(document) := found if {
	found := calls_exhausted.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "budget.calls_exhausted",
	"title": "Calls used up",
	"message": "The session has used all the calls that the agent's budget gives it.",
	"effect": "deny",
	"severity": "medium",
	"remedy": "Start a new session, or raise session_calls of the agent's profile in data/budgets.yaml.",
	"step": step,
	"facts": facts,
}

after(calls) := testing.but(testing.one("crm/read", {}), {"usage": {"session_calls": calls}})

test_a_session_at_its_limit_is_found if {
	findings(after(20)) == {finding("", [{"pointer": "/usage/session_calls", "value": 20}])}
}

test_a_history_longer_than_our_count_is_believed if {
	past := {"history": [{"step_id": "h", "tool": "crm/read", "observed": false} | some _ in numbers.range(1, 20)]}
	count(findings(testing.but(after(3), past))) == 1
}

test_a_session_with_one_call_left_is_not_found if {
	findings(after(19)) == set()
}

test_an_unknown_agent_has_no_budget_to_compare if {
	findings(testing.from_stranger(after(20))) == set()
}
