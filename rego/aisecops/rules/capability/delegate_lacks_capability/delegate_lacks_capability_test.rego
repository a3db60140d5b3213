package aisecops.rules.capability.delegate_lacks_capability_test

import data.aisecops.rules.capability.delegate_lacks_capability
import data.aisecops.testing

findings(document) := found if {
	found := delegate_lacks_capability.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "capability.delegate_lacks_capability",
	"title": "Capability beyond the chain",
	"message": "An agent on whose behalf the caller acts does not itself hold the capability.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Let an agent with the capability ask, or grant it to every agent of the chain.",
	"step": step,
	"facts": facts,
}

above(id) := testing.but(testing.one("crm/read", {}), {"delegation": [{"agent_id": id, "trace_id": "t"}]})

test_an_agent_above_without_the_capability_is_found if {
	findings(above("triage")) == {finding("s1", [
		{"pointer": "/delegation/0/agent_id", "value": "triage"},
		{"pointer": "/plan/steps/0/tool", "value": "crm/read"},
	])}
}

test_an_agent_above_with_the_capability_is_not_found if {
	findings(above("support")) == set()
}

test_an_agent_above_that_no_table_knows_holds_nothing if {
	count(findings(above("ghost"))) == 1
}

test_an_unknown_agent_has_no_grant_to_compare if {
	findings(testing.from_stranger(above("triage"))) == set()
}
