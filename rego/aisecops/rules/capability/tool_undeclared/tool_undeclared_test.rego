package aisecops.rules.capability.tool_undeclared_test

import data.aisecops.rules.capability.tool_undeclared
import data.aisecops.testing

findings(document) := found if {
	found := tool_undeclared.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "capability.tool_undeclared",
	"title": "Undeclared tool",
	"message": "The tool is not in the catalogue, so nobody has said what it does.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Use a tool of the catalogue, or have this one described in data/tools.yaml.",
	"step": step,
	"facts": facts,
}

test_a_tool_outside_the_catalogue_is_found if {
	findings(testing.document([testing.step("crm/read", {}), testing.step("crm/wipe", {})])) == {finding("s2", [{
		"pointer": "/plan/steps/1/tool",
		"value": "crm/wipe",
	}])}
}

test_a_catalogued_tool_is_not_found if {
	findings(testing.one("crm/read", {})) == set()
}

test_an_unknown_agent_is_told_about_the_tool_too if {
	count(findings(testing.from_stranger(testing.one("crm/wipe", {})))) == 1
}
