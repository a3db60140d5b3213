package aisecops.rules.screen.characters_hidden_test

import data.aisecops.rules.screen.characters_hidden
import data.aisecops.testing
import data.aisecops.testing.texts

findings(document) := found if {
	found := characters_hidden.findings with input as document with data.tables as texts.tables
}

finding(effect, facts) := {
	"rule": "screen.characters_hidden",
	"title": "Hidden characters in a text",
	"message": "The text holds characters that people do not see, that reorder what they see, or that pass for others.",
	"effect": effect,
	"severity": "high",
	"remedy": "Use the text without them.",
	"step": "p1",
	"facts": facts,
}

test_what_the_table_says_of_prompt_is_its_effect if {
	seen := texts.seen("hidden.bidi")
	findings(texts.document("prompt", [seen])) == {finding("warn", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_what_the_table_says_of_output_is_its_effect if {
	seen := texts.seen("hidden.bidi")
	findings(texts.document("output", [seen])) == {finding("deny", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_detections_of_another_kind_are_not_found if {
	findings(texts.document("prompt", [texts.seen("injection.override")])) == set()
}

test_a_text_without_detections_is_not_found if {
	findings(texts.document("prompt", [])) == set()
}

test_what_the_table_does_not_know_is_denied if {
	seen := texts.seen("hidden.unheard_of")
	findings(texts.document("input", [seen])) == {finding("deny", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_an_unknown_agent_is_told_too if {
	asked := testing.from_stranger(texts.document("prompt", [texts.seen("hidden.bidi")]))
	count(findings(asked)) == 1
}

test_a_plan_is_not_a_text if {
	findings(testing.one("crm/read", {})) == set()
}
