package aisecops.rules.provenance.effect_dictated_test

import data.aisecops.rules.provenance.effect_dictated
import data.aisecops.testing
import data.aisecops.testing.scene

findings(document) := found if {
	found := effect_dictated.findings with input as document with data.tables as scene.tables
}

finding(facts) := {
	"rule": "provenance.effect_dictated",
	"title": "Dictated by untrusted text",
	"message": "Nobody asked for this effect, and what it concerns was named by untrusted text only.",
	"effect": "deny",
	"severity": "critical",
	"remedy": "Do what the human asked for; text that the agent reads gives no orders. If it is wanted, the human has to say so.",
	"step": "s1",
	"facts": facts,
}

evil := scene.value("to", "email", "x@evil.example", [scene.prose("mail")])

test_a_call_that_only_a_text_asked_for_is_denied if {
	findings(scene.scene("mail/send", ["read", "mail"], [evil])) == {finding(scene.facts(
		["to", "x@evil.example"],
		["mail"],
	))}
}

test_a_record_does_not_help_when_the_text_names_it_too if {
	count(findings(scene.scene("mail/delete", ["read"], [scene.value("id", "number", "13", [scene.both("mail")])]))) == 1
}

test_a_planted_link_counts_as_well if {
	link := scene.inside(scene.value("body", "url", "evil.example/x", [scene.prose("page")]))
	count(findings(scene.scene("mail/send", ["read"], [link]))) == 1
}

test_a_call_that_the_human_asked_for_is_not_found if {
	findings(scene.scene("mail/send", ["send"], [evil])) == set()
}

test_a_call_that_the_human_delegated_is_not_found if {
	findings(scene.scene("mail/send", ["do", "the", "steps"], [evil])) == set()
}

test_what_cannot_be_taken_back_is_never_delegated if {
	value := scene.value("id", "number", "13", [scene.prose("mail")])
	count(findings(scene.scene("mail/delete", ["do", "the", "steps"], [value]))) == 1
}

test_values_of_a_record_that_no_text_names_are_not_found if {
	value := scene.value("id", "number", "13", [scene.field("mail")])
	findings(scene.scene("mail/delete", ["read"], [value])) == set()
}

test_an_unknown_agent_is_found_out_too if {
	count(findings(testing.from_stranger(scene.scene("mail/send", ["read"], [evil])))) == 1
}
