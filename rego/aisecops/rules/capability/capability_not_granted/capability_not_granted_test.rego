package aisecops.rules.capability.capability_not_granted_test

import data.aisecops.rules.capability.capability_not_granted
import data.aisecops.testing

findings(document) := found if {
	found := capability_not_granted.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "capability.capability_not_granted",
	"title": "Capability not granted",
	"message": "The agent holds no grant that could cover the call: it takes desk.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Leave the step out, or ask the owner of the capability for a grant in data/agents.yaml.",
	"step": step,
	"facts": facts,
}

facts(agent, capability) := [
	{"pointer": "/principal/id", "value": agent},
	{"pointer": "/plan/steps/0/tool", "value": "crm/read"},
	{"pointer": "/plan/steps/0/capability", "value": capability},
]

naming(capability) := testing.document([object.union(testing.step("crm/read", {}), {"capability": capability})])

test_a_named_capability_that_the_agent_lacks_is_found if {
	findings(naming("other")) == {finding("s1", facts("support", "other"))}
}

test_a_tool_that_no_held_capability_lists_is_found if {
	asked := testing.but(naming(""), {"principal": {"id": "triage", "authenticated_by": "mtls"}})
	findings(asked) == {finding("s1", facts("triage", ""))}
}

test_a_held_capability_is_not_found_named_or_not if {
	findings(naming("desk")) == set()
	findings(naming("")) == set()
}

test_an_unknown_agent_holds_nothing if {
	findings(testing.from_stranger(naming("desk"))) == {finding("s1", facts("stranger", "desk"))}
}

test_a_tool_that_no_capability_lists_is_told_so if {
	some found in findings(testing.one("crm/unheard", {}))
	found.message == "The agent holds no grant that could cover the call: it takes a capability that lists the tool, and there is none."
}
