package aisecops.rules.provenance.link_planted_test

import data.aisecops.rules.provenance.link_planted
import data.aisecops.testing
import data.aisecops.testing.scene

findings(document) := found if {
	found := link_planted.findings with input as document with data.tables as scene.tables
}

finding(facts) := {
	"rule": "provenance.link_planted",
	"title": "Link from untrusted text",
	"message": "What is sent carries a link, address or account that stands in untrusted text only.",
	"effect": "require_approval",
	"severity": "high",
	"remedy": "Leave the reference out, or let the human confirm it.",
	"step": "s1",
	"facts": facts,
}

planted := scene.inside(scene.value("body", "host", "evil.example", [scene.prose("page")]))

test_a_link_that_only_a_text_has_needs_a_person if {
	findings(scene.scene("mail/send", ["send"], [planted])) == {finding(scene.facts(
		["body", "evil.example"],
		["page"],
	))}
}

test_a_link_that_is_all_of_the_content_needs_a_person if {
	link := scene.value("body", "url", "https://evil.example/a", [scene.prose("page")])
	count(findings(scene.scene("mail/send", ["send"], [link]))) == 1
}

test_a_link_in_a_text_that_the_human_pointed_at_needs_a_person_too if {
	link := scene.inside(scene.value("body", "host", "shop.example", [scene.prose("named")]))
	count(findings(scene.scene("mail/send", ["send"], [link]))) == 1
}

test_a_link_that_the_agent_wrote_itself_is_not_found if {
	link := scene.inside(scene.value("body", "host", "corp.example", []))
	findings(scene.scene("mail/send", ["send"], [link])) == set()
}

test_a_link_that_the_human_gave_is_not_found if {
	link := scene.inside(scene.value("body", "host", "corp.example", [scene.prose("u1"), scene.prose("page")]))
	findings(scene.scene("mail/send", ["send"], [link])) == set()
}

test_a_reference_inside_a_destination_is_judged_with_it if {
	part := scene.inside(scene.value("to", "host", "evil.example", [scene.prose("page")]))
	findings(scene.scene("mail/send", ["send"], [part])) == set()
}

test_a_number_inside_content_is_no_link if {
	code := scene.inside(scene.value("body", "identifier", "463820", [scene.prose("page")]))
	findings(scene.scene("mail/send", ["send"], [code])) == set()
}

test_an_unknown_agent_is_found_out_too if {
	count(findings(testing.from_stranger(scene.scene("mail/send", ["send"], [planted])))) == 1
}
