package aisecops.rules.identity.environment_mismatched_test

import data.aisecops.rules.identity.environment_mismatched
import data.aisecops.testing

findings(document) := found if {
	found := environment_mismatched.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "identity.environment_mismatched",
	"title": "Wrong environment",
	"message": "The agent is not registered for the environment that the plan is for.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Run the plan in an environment of the agent, or register it for this one in data/agents.yaml.",
	"step": step,
	"facts": facts,
}

test_another_environment_is_found if {
	findings(testing.but(testing.one("crm/read", {}), {"environment": "staging"})) == {finding("", [
		{"pointer": "/principal/id", "value": "support"},
		{"pointer": "/environment", "value": "staging"},
	])}
}

test_its_own_environment_is_not_found if {
	findings(testing.one("crm/read", {})) == set()
}

test_no_environment_is_another_environment if {
	count(findings(testing.but(testing.one("crm/read", {}), {"environment": ""}))) == 1
}

test_an_unknown_agent_is_left_to_its_own_rule if {
	findings(testing.from_stranger(testing.one("crm/read", {}))) == set()
}
