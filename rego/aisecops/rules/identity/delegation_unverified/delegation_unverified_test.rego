package aisecops.rules.identity.delegation_unverified_test

import data.aisecops.rules.identity.delegation_unverified
import data.aisecops.testing

findings(document) := found if {
	found := delegation_unverified.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "identity.delegation_unverified",
	"title": "Delegation not shown by the log",
	"message": "The log does not show that an agent of the chain acted as the plan says.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Name for each agent of the chain, outermost first, the trace in which it was allowed to act, and leave none out.",
	"step": step,
	"facts": facts,
}

above(links) := testing.but(testing.one("crm/read", {}), {"delegation": links})

link(id, verified) := {"agent_id": id, "trace_id": "t", "verified": verified}

test_a_link_that_the_log_does_not_show_is_found if {
	findings(above([link("triage", true), link("support", false)])) == {finding("", [
		{"pointer": "/delegation/1/agent_id", "value": "support"},
		{"pointer": "/delegation/1/trace_id", "value": "t"},
	])}
}

test_links_that_the_log_shows_are_not_found if {
	findings(above([link("triage", true), link("support", true)])) == set()
}

test_a_link_of_which_nothing_is_said_is_found if {
	count(findings(above([{"agent_id": "triage", "trace_id": "t"}, link("support", "yes"), link("support", null)]))) == 3
}

test_the_chain_above_an_unknown_agent_is_held_against_the_log_too if {
	count(findings(testing.from_stranger(above([link("triage", false)])))) == 1
}
