package aisecops.rules.identity.delegation_too_deep_test

import data.aisecops.rules.identity.delegation_too_deep
import data.aisecops.testing

findings(document) := found if {
	found := delegation_too_deep.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "identity.delegation_too_deep",
	"title": "Delegation too deep",
	"message": "More agents stand above the caller than its registration accepts.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Call the agent more directly, or raise max_delegation_depth in data/agents.yaml.",
	"step": step,
	"facts": facts,
}

above(ids) := {"delegation": [{"agent_id": id, "trace_id": "t"} | some id in ids]}

test_a_longer_chain_than_registered_is_found if {
	findings(testing.but(testing.one("crm/read", {}), above(["a", "b", "c"]))) == {finding("", [
		{"pointer": "/delegation/0/agent_id", "value": "a"},
		{"pointer": "/delegation/1/agent_id", "value": "b"},
		{"pointer": "/delegation/2/agent_id", "value": "c"},
	])}
}

test_a_chain_of_the_registered_length_is_not_found if {
	findings(testing.but(testing.one("crm/read", {}), above(["a", "b"]))) == set()
}

test_an_unknown_agent_is_left_to_its_own_rule if {
	findings(testing.from_stranger(testing.but(testing.one("crm/read", {}), above(["a", "b", "c"])))) == set()
}
