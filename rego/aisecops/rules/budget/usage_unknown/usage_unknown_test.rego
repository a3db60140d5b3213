package aisecops.rules.budget.usage_unknown_test

import data.aisecops.rules.budget.usage_unknown
import data.aisecops.testing

findings(document, limits, of_tools) := found if {
	found := usage_unknown.findings with input as document with data.tables as testing.limiting(limits, of_tools)
}

finding(message) := {
	"rule": "budget.usage_unknown",
	"title": "Use unknown",
	"message": message,
	"effect": "deny",
	"severity": "high",
	"remedy": "Ask again; what keeps being unknown is for whoever runs the control plane.",
	"step": "",
	"facts": [{"pointer": "/principal/id", "value": "support"}],
}

read := testing.one("crm/read", {})

tool := testing.limit("tool", "crm/read", "calls", "hour", 5)

team := testing.limit("team", "desk-team", "micro_usd", "month", 5)

test_a_limit_on_what_nobody_looked_up_is_found if {
	found := findings(read, [team], {"crm/read": [tool]})
	found == {
		finding("The team desk-team has a limit on micro_usd (month), and nobody looked up what was used of it."),
		finding("The tool crm/read has a limit on calls (hour), and nobody looked up what was used of it."),
	}
}

test_a_limit_on_somebody_else_than_was_looked_up_is_found if {
	other := json.patch(testing.counted(read, {}), [{"op": "replace", "path": "/usage/subjects/team", "value": "another"}])
	count(findings(other, [team], {})) == 1
}

test_a_session_that_nobody_looked_up_is_found if {
	session := testing.limit("session", "", "calls", "session", 5)
	unnamed := json.patch(testing.counted(read, {}), [{"op": "remove", "path": "/usage/subjects/session"}])
	count(findings(unnamed, [session], {})) == 1
	findings(testing.counted(read, {}), [session], {}) == set()
}

test_what_was_looked_up_and_not_used_is_not_found if {
	findings(testing.counted(read, {}), [team], {"crm/read": [tool]}) == set()
}

test_without_limits_nothing_need_be_looked_up if {
	findings(read, [], {}) == set()
}

test_an_unknown_agent_has_no_limits if {
	findings(testing.from_stranger(read), [team], {}) == set()
}
