package aisecops.rules.capability.delegation_exceeds_test

import data.aisecops.rules.capability.delegation_exceeds
import data.aisecops.testing

findings(document) := found if {
	found := delegation_exceeds.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "capability.delegation_exceeds",
	"title": "More than the chain may do",
	"message": "An agent on whose behalf the caller acts may not make this call itself.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Let an agent ask that may do it and acts on its own, or give every agent of the chain a grant that covers the call.",
	"step": step,
	"facts": facts,
}

above(ids) := testing.but(testing.one("crm/read", {}), {"delegation": [
{"agent_id": id, "trace_id": "t", "verified": true} |
	some id in ids
]})

test_an_agent_above_without_a_grant_is_found if {
	findings(above(["support", "triage"])) == {finding("s1", [
		{"pointer": "/delegation/1/agent_id", "value": "triage"},
		{"pointer": "/plan/steps/0/tool", "value": "crm/read"},
	])}
}

test_agents_above_with_a_grant_are_not_found if {
	findings(above(["support", "support"])) == set()
}

test_an_agent_above_that_no_table_knows_may_call_nothing if {
	count(findings(above(["ghost"]))) == 1
}

test_an_unknown_agent_has_no_grant_to_compare if {
	findings(testing.from_stranger(above(["triage"]))) == set()
}

test_a_grant_of_an_agent_above_that_does_not_cover_the_call_is_none if {
	narrow := {"desk": {"granted_by": "alice", "id": "triage#desk", "environments": {"staging": true}}}
	tables := object.union(testing.tables, {
		"agents": {"triage": {"capabilities": {"desk": {"granted_by": "alice", "narrowed": true}}}},
		"grants": {"triage": narrow},
	})
	found := delegation_exceeds.findings with input as above(["triage"]) with data.tables as tables
	count(found) == 1
	wide := json.patch(tables, [{"op": "replace", "path": "/grants/triage/desk/environments", "value": {"production": true}}])
	covered := delegation_exceeds.findings with input as above(["triage"]) with data.tables as wide
	covered == set()
}
