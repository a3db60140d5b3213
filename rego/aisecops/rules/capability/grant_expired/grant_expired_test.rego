package aisecops.rules.capability.grant_expired_test

import data.aisecops.rules.capability.grant_expired
import data.aisecops.testing

findings(document, expires) := found if {
	held := {"desk": {"granted_by": "alice", "id": "support#desk", "expires_at_seconds": expires}}
	found := grant_expired.findings with input as document with data.tables as testing.granting(held)
}

read := testing.one("crm/read", {})

test_a_grant_that_has_ended_is_found if {
	findings(read, 1767225600) == {{
		"rule": "capability.grant_expired",
		"title": "Grant expired",
		"message": "The grant support#desk covers no calls any more: it ended at 2026-01-01T00:00:00Z.",
		"effect": "deny",
		"severity": "high",
		"remedy": "Ask alice to grant it anew in data/agents.yaml.",
		"step": "s1",
		"facts": [
			{"pointer": "/plan/steps/0/tool", "value": "crm/read"},
			{"pointer": "/now/unix_seconds", "value": 1767225600},
		],
	}}
}

test_a_grant_in_its_last_second_is_not_found if {
	findings(read, 1767225601) == set()
}

test_a_tool_that_the_grant_does_not_open_is_left_to_others if {
	findings(testing.one("crm/unheard", {}), 1) == set()
}

test_an_unknown_agent_holds_no_grant if {
	findings(testing.from_stranger(read), 1) == set()
}
