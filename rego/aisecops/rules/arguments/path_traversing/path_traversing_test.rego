package aisecops.rules.arguments.path_traversing_test

import data.aisecops.rules.arguments.path_traversing
import data.aisecops.testing

findings(document) := found if {
	found := path_traversing.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "arguments.path_traversing",
	"title": "Path leaves its directory",
	"message": "An argument climbs out of the directory that it starts in.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Name the file by a path without '..', inside what the tool serves.",
	"step": step,
	"facts": facts,
}

read(path) := testing.one("crm/read", {"id": path})

test_every_form_of_climbing_is_found if {
	every path in [
		"../secret", "a/../../b", "..", "a/..", "..\\windows", "%2e%2e/x", "a%2f..%2fb", "%252e%252e%252fetc", "..;/admin",
		"report.pdf%00.png", ".%2e/x",
	] {
		findings(read(path)) == {finding("s1", [{"pointer": "/plan/steps/0/arguments/id", "value": path}])}
	}
}

test_paths_that_stay_inside_are_not_found if {
	every path in ["a/b", "./a", "v1..v2", "wait...", "a..b/c", ".../x", "file.tar.gz", "main..HEAD"] {
		findings(read(path)) == set()
	}
}

test_text_that_is_passed_on_is_not_found if {
	findings(testing.one("crm/update", {"note": "see ../docs"})) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(read("../x")))) == 1
}
