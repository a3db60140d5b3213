package aisecops.rules.identity.delegate_unregistered_test

import data.aisecops.rules.identity.delegate_unregistered
import data.aisecops.testing

findings(document) := found if {
	found := delegate_unregistered.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "identity.delegate_unregistered",
	"title": "Unregistered agent in the chain",
	"message": "No table knows an agent on whose behalf the caller acts.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Register every agent of the chain in data/agents.yaml.",
	"step": step,
	"facts": facts,
}

above(id) := {"delegation": [{"agent_id": "triage", "trace_id": "t"}, {"agent_id": id, "trace_id": "t"}]}

test_an_unknown_agent_in_the_chain_is_found if {
	findings(testing.but(testing.one("crm/read", {}), above("ghost"))) == {finding("", [{
		"pointer": "/delegation/1/agent_id",
		"value": "ghost",
	}])}
}

test_a_registered_agent_in_the_chain_is_not_found if {
	findings(testing.but(testing.one("crm/read", {}), above("support"))) == set()
}

test_the_chain_above_an_unknown_agent_is_read_too if {
	count(findings(testing.from_stranger(testing.but(testing.one("crm/read", {}), above("ghost"))))) == 1
}
