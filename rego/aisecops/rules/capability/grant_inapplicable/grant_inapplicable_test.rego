package aisecops.rules.capability.grant_inapplicable_test

import data.aisecops.rules.capability.grant_inapplicable
import data.aisecops.testing

findings(document, parts) := found if {
	held := {"desk": object.union({"granted_by": "alice", "id": "support#desk"}, parts)}
	found := grant_inapplicable.findings with input as document with data.tables as testing.granting(held)
}

read := testing.one("crm/read", {})

finding(why, fact) := {
	"rule": "capability.grant_inapplicable",
	"title": "Grant does not apply",
	"message": sprintf("The grant support#desk does not apply: %s.", [why]),
	"effect": "deny",
	"severity": "high",
	"remedy": "Act where and while the grant applies, or ask alice to renew or extend it in data/agents.yaml.",
	"step": "s1",
	"facts": [{"pointer": "/plan/steps/0/tool", "value": "crm/read"}, fact],
}

ended := finding("it ended at 2026-01-01T00:00:00Z", {"pointer": "/now/unix_seconds", "value": 1767225600})

elsewhere := finding("it is for development, staging", {"pointer": "/environment", "value": "production"})

test_a_grant_that_has_ended_is_found if {
	findings(read, {"expires_at_seconds": 1767225600}) == {ended}
}

test_a_grant_for_another_environment_is_found if {
	findings(read, {"environments": {"staging": true, "development": true}}) == {elsewhere}
}

test_both_are_told if {
	both := {"expires_at_seconds": 1767225600, "environments": {"staging": true, "development": true}}
	findings(read, both) == {ended, elsewhere}
}

test_a_grant_in_its_last_second_in_its_environment_is_not_found if {
	findings(read, {"expires_at_seconds": 1767225601, "environments": {"production": true}}) == set()
}

test_a_tool_that_the_grant_does_not_open_is_left_to_others if {
	findings(testing.one("crm/unheard", {}), {"expires_at_seconds": 1}) == set()
}

test_an_unknown_agent_holds_no_grant if {
	findings(testing.from_stranger(read), {"expires_at_seconds": 1}) == set()
}
