package aisecops.rules.provenance.value_quoted_test

import data.aisecops.rules.provenance.value_quoted
import data.aisecops.testing
import data.aisecops.testing.scene

findings(document) := found if {
	found := value_quoted.findings with input as document with data.tables as scene.tables
}

finding(facts) := {
	"rule": "provenance.value_quoted",
	"title": "Chosen by untrusted text",
	"message": "Whom or what the call concerns was taken from untrusted text, although the human asked for the effect.",
	"effect": "require_approval",
	"severity": "high",
	"remedy": "Let the human confirm the value, or take it from a record.",
	"step": "s1",
	"facts": facts,
}

quoted := scene.value("to", "email", "ann@corp.example", [scene.prose("named")])

test_an_address_in_a_text_that_the_human_pointed_at_needs_a_person if {
	findings(scene.scene("mail/send", ["send"], [quoted])) == {finding(scene.facts(
		["to", "ann@corp.example"],
		["named"],
	))}
}

test_a_name_from_any_text_needs_a_person if {
	value := scene.value("to", "word", "fred", [scene.prose("mail")])
	count(findings(scene.scene("mail/send", ["send"], [value]))) == 1
}

test_prose_of_our_own_records_needs_a_person if {
	value := scene.value("to", "word", "fred", [scene.prose("staff")])
	count(findings(scene.scene("mail/send", ["send"], [value]))) == 1
}

test_an_address_of_somebody_whom_the_human_introduced_is_not_found if {
	findings(scene.scene("mail/send", ["send"], [scene.spoken(quoted)])) == set()
}

test_a_name_that_the_human_said_is_not_found if {
	value := scene.spoken(scene.value("to", "word", "fred", [scene.prose("mail")]))
	findings(scene.scene("mail/send", ["send"], [value])) == set()
}

test_a_name_in_a_plain_list_is_not_found if {
	value := scene.value("id", "phrase", "harbour inn", [scene.line("trip")])
	findings(scene.scene("wiki/edit", ["edit"], [value])) == set()
}

test_content_is_not_found if {
	value := scene.value("title", "phrase", "harbour inn", [scene.prose("mail")])
	findings(scene.scene("wiki/edit", ["edit"], [value])) == set()
}

test_an_unknown_agent_is_found_out_too if {
	count(findings(testing.from_stranger(scene.scene("mail/send", ["send"], [quoted])))) == 1
}
