package aisecops.rules.capability.grant_elsewhere_test

import data.aisecops.rules.capability.grant_elsewhere
import data.aisecops.testing

findings(document, environments) := found if {
	held := {"desk": {"granted_by": "alice", "id": "support#desk", "environments": environments}}
	found := grant_elsewhere.findings with input as document with data.tables as testing.granting(held)
}

read := testing.one("crm/read", {})

test_a_grant_for_another_environment_is_found if {
	findings(read, {"staging": true, "development": true}) == {{
		"rule": "capability.grant_elsewhere",
		"title": "Grant for another environment",
		"message": "The grant support#desk does not hold in this environment; it holds in development, staging.",
		"effect": "deny",
		"severity": "high",
		"remedy": "Run the plan where the grant holds, or ask alice to extend it in data/agents.yaml.",
		"step": "s1",
		"facts": [
			{"pointer": "/plan/steps/0/tool", "value": "crm/read"},
			{"pointer": "/environment", "value": "production"},
		],
	}}
}

test_a_grant_for_this_environment_is_not_found if {
	findings(read, {"production": true}) == set()
}

test_an_unknown_agent_holds_no_grant if {
	findings(testing.from_stranger(read), {"staging": true}) == set()
}
