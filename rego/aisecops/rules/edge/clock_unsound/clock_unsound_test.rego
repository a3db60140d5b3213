package aisecops.rules.edge.clock_unsound_test

import data.aisecops.rules.edge.clock_unsound
import data.aisecops.testing

findings(document) := found if {
	found := clock_unsound.findings with input as document with data.tables as testing.tables
}

decided_when(sound) := testing.but(testing.one("crm/read", {}), {"edge": {
	"id": "shop",
	"clock_sound": sound,
	"bundle": {"counter": 1, "age_seconds": 1, "lifetime_seconds": 60},
}})

test_a_clock_that_went_back_is_found if {
	findings(decided_when(false)) == {{
		"rule": "edge.clock_unsound",
		"title": "Clock went back",
		"message": "The clock of this edge's machine went back since the centre confirmed its policy, so nobody knows how old it is.",
		"effect": "deny",
		"severity": "high",
		"remedy": "Set the clock right and let the edge reach its centre; what it says then counts again.",
		"step": "",
		"facts": [{"pointer": "/edge/clock_sound", "value": false}],
	}}
}

test_a_sound_clock_is_not_found if {
	findings(decided_when(true)) == set()
	findings(testing.one("crm/read", {})) == set()
}

test_it_denies_a_stranger_too if {
	count(findings(testing.from_stranger(decided_when(false)))) == 1
}
