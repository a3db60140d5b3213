package aisecops.rules.edge.agent_not_served_test

import data.aisecops.rules.edge.agent_not_served
import data.aisecops.testing

tables := object.union(testing.tables, {"edges": {"shop": {"agents": {"support": true}, "max_age_seconds": 60}}})

findings(document) := found if {
	found := agent_not_served.findings with input as document with data.tables as tables
}

finding(edge, agent) := {
	"rule": "edge.agent_not_served",
	"title": "Agent of another place",
	"message": "This edge is not registered to decide for this agent.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Ask the centre, or list the agent under its edge in data/edges.yaml.",
	"step": "",
	"facts": [{"pointer": "/edge/id", "value": edge}, {"pointer": "/principal/id", "value": agent}],
}

decided_by(edge) := testing.but(testing.one("crm/read", {}), {"edge": {
	"id": edge,
	"clock_sound": true,
	"bundle": {"counter": 1, "age_seconds": 1, "lifetime_seconds": 60},
}})

test_an_agent_of_the_edge_is_not_found if {
	findings(decided_by("shop")) == set()
}

test_an_agent_that_the_edge_does_not_serve_is_found if {
	findings(testing.from_stranger(decided_by("shop"))) == {finding("shop", "stranger")}
}

test_an_edge_that_no_table_knows_serves_nobody if {
	findings(decided_by("other")) == {finding("other", "support")}
}

test_the_centre_serves_everybody if {
	findings(testing.from_stranger(testing.one("crm/read", {}))) == set()
}
