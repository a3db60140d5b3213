package aisecops.rules.identity.agent_unregistered_test

import data.aisecops.rules.identity.agent_unregistered
import data.aisecops.testing

findings(document) := found if {
	found := agent_unregistered.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "identity.agent_unregistered",
	"title": "Unregistered agent",
	"message": "No table knows the agent that asks.",
	"effect": "deny",
	"severity": "critical",
	"remedy": "Register the agent in data/agents.yaml with an owner and its capabilities.",
	"step": step,
	"facts": facts,
}

test_an_agent_that_no_table_knows_is_found if {
	findings(testing.from_stranger(testing.one("crm/read", {}))) == {finding("", [{"pointer": "/principal/id", "value": "stranger"}])}
}

test_a_registered_agent_is_not_found if {
	findings(testing.one("crm/read", {})) == set()
}

test_an_empty_id_is_not_an_agent if {
	asked := testing.but(testing.one("crm/read", {}), {"principal": {"id": "", "authenticated_by": ""}})
	count(findings(asked)) == 1
}
