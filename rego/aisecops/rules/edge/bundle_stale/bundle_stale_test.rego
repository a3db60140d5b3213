package aisecops.rules.edge.bundle_stale_test

import data.aisecops.decision
import data.aisecops.rules.edge.bundle_stale
import data.aisecops.testing

tables := object.union(testing.tables, {"edges": {"shop": {"agents": {"support": true}, "max_age_seconds": 60}}})

findings(document) := found if {
	found := bundle_stale.findings with input as document with data.tables as tables
}

finding(age, limit) := {
	"rule": "edge.bundle_stale",
	"title": "Stale policy",
	"message": sprintf("The centre confirmed the policy of this edge %d seconds ago, and it counts for %d seconds.", [age, limit]),
	"effect": "deny",
	"severity": "high",
	"remedy": "Let the edge reach its centre and ask again; 'aisecops edge status' on the edge says why it does not.",
	"step": "",
	"facts": [{"pointer": "/edge/bundle/age_seconds", "value": age}],
}

asked_at(id, age, lifetime) := testing.but(testing.one("crm/read", {}), {"edge": {
	"id": id,
	"clock_sound": true,
	"bundle": {"counter": 1, "age_seconds": age, "lifetime_seconds": lifetime},
}})

test_a_policy_older_than_the_table_allows_is_found if {
	findings(asked_at("shop", 61, 3600)) == {finding(61, 60)}
}

test_a_policy_older_than_the_centre_signed_is_found if {
	findings(asked_at("shop", 31, 30)) == {finding(31, 30)}
}

test_an_edge_that_no_table_knows_has_what_the_centre_signed if {
	findings(asked_at("stranger", 31, 30)) == {finding(31, 30)}
	findings(asked_at("stranger", 30, 30)) == set()
}

test_a_policy_at_its_limit_still_counts if {
	findings(asked_at("shop", 60, 3600)) == set()
}

test_at_the_centre_no_policy_is_stale if {
	findings(testing.one("crm/read", {})) == set()
}

test_it_denies_a_stranger_too if {
	count(findings(testing.from_stranger(asked_at("shop", 61, 3600)))) == 1
}

test_it_denies_where_the_agent_is_only_observed if {
	observing := object.union(tables, {
		"agents": {"support": {"mode": "observe"}},
		"modes": {"observed": true, "rules": {"edge": "observe"}},
	})
	answer := decision.decision with input as asked_at("shop", 61, 3600) with data.tables as observing
	answer.outcome == "DENY"
}
