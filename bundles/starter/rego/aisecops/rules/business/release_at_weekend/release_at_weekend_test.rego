package aisecops.rules.business.release_at_weekend_test

import data.aisecops.rules.business.release_at_weekend
import data.aisecops.testing

found(document) := findings if {
	findings := release_at_weekend.findings with input as document with data.tables as testing.tables
}

# The third of January 2026 is a Saturday.
at(unix_seconds, rfc3339) := testing.but(
	testing.one("deploy/release", {"service": "shop", "version": "2.4.0"}),
	{"now": {"unix_seconds": unix_seconds, "rfc3339": rfc3339}},
)

saturday := at(1767441600, "2026-01-03T12:00:00Z")

monday := at(1767614400, "2026-01-05T12:00:00Z")

test_a_release_on_a_saturday_needs_approval if {
	found(saturday) == {{
		"rule": "business.release_at_weekend",
		"title": "Release at the weekend",
		"message": "Nobody is there who could take a release back.",
		"effect": "require_approval",
		"severity": "medium",
		"step": "s1",
		"facts": [{"pointer": "/plan/steps/0/tool", "value": "deploy/release"}],
		"remedy": "Release on a working day, or ask who is on call.",
	}}
}

test_a_release_on_a_monday_is_left_alone if {
	found(monday) == set()
}

test_an_unknown_agent_is_told_too if {
	count(found(testing.from_stranger(saturday))) == 1
}
