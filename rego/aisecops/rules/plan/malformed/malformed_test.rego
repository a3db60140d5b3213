package aisecops.rules.plan.malformed_test

import data.aisecops.rules.plan.malformed
import data.aisecops.testing

findings(document) := found if {
	found := malformed.findings with input as document with data.tables as testing.tables
}

finding(facts) := {
	"rule": "plan.malformed",
	"title": "Malformed document",
	"message": "The document lacks a part that every decision needs, or a part has the wrong type.",
	"effect": "deny",
	"severity": "critical",
	"remedy": "Send a plan that follows the contract; the facts name the parts.",
	"step": "",
	"facts": facts,
}

whole := testing.one("crm/read", {"id": "c-1"})

test_a_missing_part_is_named if {
	findings(json.remove(whole, ["/usage"])) == {finding([{"pointer": "/usage/session_calls", "value": "missing"}])}
}

test_a_part_of_the_wrong_type_is_named_with_its_type if {
	wrong := testing.but(whole, {"usage": {"session_calls": "3"}, "environment": 7})
	findings(wrong) == {finding([
		{"pointer": "/environment", "value": "number"},
		{"pointer": "/usage/session_calls", "value": "string"},
	])}
}

test_a_wrong_step_is_named if {
	wrong := json.patch(whole, [{"op": "replace", "path": "/plan/steps/0/arguments", "value": "rm"}])
	findings(wrong) == {finding([{"pointer": "/plan/steps/0", "value": "object"}])}
}

test_another_version_and_an_empty_plan_are_named if {
	findings(testing.but(whole, {"schema_version": 2})) == {finding([{"pointer": "/schema_version", "value": 2}])}
	findings(testing.document([])) == {finding([{"pointer": "/plan/steps", "value": "empty"}])}
}

test_every_part_of_nothing_is_missing if {
	every document in [{}, [], "allow"] {
		some found in findings(document)
		count(found.facts) == 14
		{fact.value | some fact in found.facts} == {"missing"}
	}
}

test_a_whole_document_is_not_found if {
	findings(whole) == set()
}

test_a_whole_document_of_an_unknown_agent_is_not_found if {
	findings(testing.from_stranger(whole)) == set()
}
