package aisecops.rules.screen.personal_data_exposed_test

import data.aisecops.rules.screen.personal_data_exposed
import data.aisecops.testing
import data.aisecops.testing.texts

findings(document) := found if {
	found := personal_data_exposed.findings with input as document with data.tables as texts.tables
}

finding(effect, facts) := {
	"rule": "screen.personal_data_exposed",
	"title": "Personal data in a text",
	"message": "Data about a person stands in the text.",
	"effect": effect,
	"severity": "medium",
	"remedy": "Use the text with the data replaced, or leave out what the task does not need.",
	"step": "p1",
	"facts": facts,
}

test_what_the_table_says_of_prompt_is_its_effect if {
	seen := texts.seen("personal.email")
	findings(texts.document("prompt", [seen])) == {finding("warn", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_what_the_table_says_of_output_is_its_effect if {
	seen := texts.seen("personal.email")
	findings(texts.document("output", [seen])) == {finding("warn", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_detections_of_another_kind_are_not_found if {
	findings(texts.document("prompt", [texts.seen("injection.override")])) == set()
}

test_a_text_without_detections_is_not_found if {
	findings(texts.document("prompt", [])) == set()
}

test_what_the_table_does_not_know_is_denied if {
	seen := texts.seen("personal.unheard_of")
	findings(texts.document("input", [seen])) == {finding("deny", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_an_unknown_agent_is_told_too if {
	asked := testing.from_stranger(texts.document("prompt", [texts.seen("personal.email")]))
	count(findings(asked)) == 1
}

test_a_plan_is_not_a_text if {
	findings(testing.one("crm/read", {})) == set()
}
