package aisecops.rules.mcp.tool_not_allowed_test

import data.aisecops.rules.mcp.tool_not_allowed
import data.aisecops.testing

findings(document) := found if {
	found := tool_not_allowed.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "mcp.tool_not_allowed",
	"title": "Tool not allowed on its server",
	"message": "The server is allowed, this tool of it is not.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Use an allowed tool of the server, or add this one to its list in data/servers.yaml.",
	"step": step,
	"facts": facts,
}

test_a_tool_that_its_server_does_not_list_is_found if {
	findings(testing.one("db/drop", {})) == {finding("s1", [{"pointer": "/plan/steps/0/tool", "value": "db/drop"}])}
}

test_a_listed_tool_is_not_found if {
	findings(testing.one("db/query", {})) == set()
}

test_a_tool_of_an_unknown_server_is_left_to_its_own_rule if {
	findings(testing.one("rogue/read", {})) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(testing.one("db/drop", {})))) == 1
}
