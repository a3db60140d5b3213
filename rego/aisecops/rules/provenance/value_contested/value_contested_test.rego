package aisecops.rules.provenance.value_contested_test

import data.aisecops.rules.provenance.value_contested
import data.aisecops.testing
import data.aisecops.testing.scene

findings(document) := found if {
	found := value_contested.findings with input as document with data.tables as scene.tables
}

finding(facts) := {
	"rule": "provenance.value_contested",
	"title": "Also named by untrusted text",
	"message": "A record has the value, but untrusted text names it too and may have steered the choice.",
	"effect": "require_approval",
	"severity": "medium",
	"remedy": "Let the human confirm that this is the one that they meant.",
	"step": "s1",
	"facts": facts,
}

contested := scene.value("to", "email", "ann@corp.example", [scene.both("mail")])

test_an_address_that_a_text_names_beside_its_record_needs_a_person if {
	findings(scene.scene("mail/send", ["send"], [contested])) == {finding(scene.facts(
		["to", "ann@corp.example"],
		["mail"],
	))}
}

test_another_source_can_contest_a_record if {
	value := scene.value("id", "number", "13", [scene.field("mail"), scene.prose("page")])
	count(findings(scene.scene("mail/delete", ["delete", "mail"], [value]))) == 1
}

test_a_record_that_the_human_named_settles_it if {
	value := scene.value("to", "email", "ann@corp.example", [scene.bound(scene.both("mail"))])
	findings(scene.scene("mail/send", ["send"], [value])) == set()
}

test_nothing_settles_it_for_what_cannot_be_taken_back if {
	value := scene.value("id", "number", "13", [scene.bound(scene.both("mail"))])
	count(findings(scene.scene("mail/delete", ["delete", "mail"], [value]))) == 1
}

test_common_words_are_in_every_text if {
	value := scene.value("to", "word", "general", [scene.both("mail")])
	findings(scene.scene("mail/send", ["send"], [value])) == set()
}

test_an_unknown_agent_is_found_out_too if {
	count(findings(testing.from_stranger(scene.scene("mail/send", ["send"], [contested])))) == 1
}
