package aisecops.rules.capability.tool_outside_capability_test

import data.aisecops.rules.capability.tool_outside_capability
import data.aisecops.testing

findings(document) := found if {
	found := tool_outside_capability.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "capability.tool_outside_capability",
	"title": "Tool outside its capability",
	"message": "The capability that the plan names does not list the tool.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Name a capability that lists the tool, or none, and the grant that covers it is looked up.",
	"step": step,
	"facts": facts,
}

naming(capability) := testing.document([object.union(testing.step("crm/read", {}), {"capability": capability})])

test_a_capability_that_lists_other_tools_is_found if {
	findings(naming("other")) == {finding("s1", [
		{"pointer": "/plan/steps/0/tool", "value": "crm/read"},
		{"pointer": "/plan/steps/0/capability", "value": "other"},
	])}
}

test_a_capability_that_does_not_exist_is_found if {
	count(findings(naming("everything"))) == 1
}

test_a_capability_that_lists_the_tool_or_none_is_not_found if {
	findings(naming("desk")) == set()
	findings(naming("")) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(naming("other")))) == 1
}
