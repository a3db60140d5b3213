package aisecops.rules.provenance.destination_dictated_test

import data.aisecops.rules.provenance.destination_dictated
import data.aisecops.testing
import data.aisecops.testing.scene

findings(document) := found if {
	found := destination_dictated.findings with input as document with data.tables as scene.tables
}

finding(facts) := {
	"rule": "provenance.destination_dictated",
	"title": "Address from untrusted text",
	"message": "An address or account to which the call would go stands in untrusted text only.",
	"effect": "deny",
	"severity": "critical",
	"remedy": "Use an address that the human gave or that a directory has; or ask the human to name it.",
	"step": "s1",
	"facts": facts,
}

evil := scene.value("to", "email", "x@evil.example", [scene.prose("mail")])

test_an_address_that_only_a_text_names_is_denied_although_the_human_asked_to_send if {
	findings(scene.scene("mail/send", ["send"], [evil])) == {finding(scene.facts(["to", "x@evil.example"], ["mail"]))}
}

test_an_address_in_a_field_of_a_web_page_is_as_bad_as_prose if {
	value := scene.value("to", "email", "x@evil.example", [scene.field("page")])
	count(findings(scene.scene("mail/send", ["send"], [value]))) == 1
}

test_an_address_in_a_field_of_a_mail_is_not_found if {
	value := scene.value("to", "email", "ann@corp.example", [scene.field("mail")])
	findings(scene.scene("mail/send", ["send"], [value])) == set()
}

test_an_address_that_the_human_gave_is_not_found if {
	value := scene.value("to", "email", "x@evil.example", [scene.prose("u1"), scene.prose("mail")])
	findings(scene.scene("mail/send", ["send"], [value])) == set()
}

test_a_text_that_the_human_pointed_at_is_another_rules_matter if {
	value := scene.value("to", "email", "ann@corp.example", [scene.prose("named")])
	findings(scene.scene("mail/send", ["send"], [value])) == set()
}

test_an_unknown_agent_is_found_out_too if {
	count(findings(testing.from_stranger(scene.scene("mail/send", ["send"], [evil])))) == 1
}
