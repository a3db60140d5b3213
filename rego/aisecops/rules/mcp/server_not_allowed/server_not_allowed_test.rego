package aisecops.rules.mcp.server_not_allowed_test

import data.aisecops.rules.mcp.server_not_allowed
import data.aisecops.testing

findings(document) := found if {
	found := server_not_allowed.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "mcp.server_not_allowed",
	"title": "Server not allowed",
	"message": "The tool's server is not allowed in this environment.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Use an allowed server, or have this one described in data/servers.yaml.",
	"step": step,
	"facts": facts,
}

facts(server, environment) := [
	{"pointer": "/plan/steps/0/server", "value": server},
	{"pointer": "/environment", "value": environment},
]

test_a_server_that_no_table_knows_is_found if {
	findings(testing.one("rogue/read", {})) == {finding("s1", facts("rogue", "production"))}
}

test_a_server_of_another_environment_is_found if {
	asked := testing.but(testing.one("crm/read", {}), {"environment": "staging"})
	findings(asked) == {finding("s1", facts("crm", "staging"))}
}

test_a_server_of_the_environment_is_not_found if {
	findings(testing.but(testing.one("db/query", {}), {"environment": "staging"})) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(testing.one("rogue/read", {})))) == 1
}
