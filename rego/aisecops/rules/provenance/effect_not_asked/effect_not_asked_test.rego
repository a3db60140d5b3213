package aisecops.rules.provenance.effect_not_asked_test

import data.aisecops.rules.provenance.effect_not_asked
import data.aisecops.testing
import data.aisecops.testing.scene

findings(document) := found if {
	found := effect_not_asked.findings with input as document with data.tables as scene.tables
}

finding(facts) := {
	"rule": "provenance.effect_not_asked",
	"title": "Not asked for",
	"message": "The agent has read untrusted text, and the human did not ask for this effect.",
	"effect": "require_approval",
	"severity": "high",
	"remedy": "Let the human ask for it, or confirm it.",
	"step": "s1",
	"facts": facts,
}

test_an_effect_that_nobody_asked_for_needs_a_person if {
	findings(scene.scene("mail/send", ["read", "mail"], [])) == {finding([{
		"pointer": "/plan/steps/0/tool",
		"value": "mail/send",
	}])}
}

test_asking_to_delete_one_thing_is_not_asking_to_delete_another if {
	value := scene.value("id", "number", "13", [scene.field("mail")])
	count(findings(scene.scene("mail/delete", ["delete", "the", "file"], [value]))) == 1
}

test_naming_the_thing_is_asking_for_it if {
	findings(scene.scene("mail/delete", ["delete", "that", "mail"], [])) == set()
}

test_giving_its_name_is_asking_for_it if {
	value := scene.value("id", "word", "newsletter", [scene.prose("u1")])
	findings(scene.scene("mail/delete", ["delete", "newsletter"], [value])) == set()
}

test_saying_its_words_is_asking_for_it if {
	value := scene.spoken(scene.value("id", "phrase", "weekly news", [scene.field("mail")]))
	findings(scene.scene("mail/delete", ["delete", "weekly", "news"], [value])) == set()
}

test_an_effect_that_the_human_asked_for_is_not_found if {
	findings(scene.scene("mail/send", ["send"], [])) == set()
}

test_reading_needs_no_asking if {
	findings(scene.scene("mail/read", ["hello"], [])) == set()
}

test_nothing_is_found_where_nobody_else_has_a_say if {
	findings(scene.among_ourselves(scene.scene("mail/send", ["hello"], []))) == set()
}

test_an_unknown_agent_is_found_out_too if {
	count(findings(testing.from_stranger(scene.scene("mail/send", ["read"], [])))) == 1
}
