package aisecops.rules.provenance.grounding_incomplete_test

import data.aisecops.rules.provenance.grounding_incomplete
import data.aisecops.testing
import data.aisecops.testing.scene

findings(document) := found if {
	found := grounding_incomplete.findings with input as document with data.tables as scene.tables
}

finding(facts) := {
	"rule": "provenance.grounding_incomplete",
	"title": "Origin not established",
	"message": "Some sources could not be searched, so a value may come from untrusted text without being seen there.",
	"effect": "require_approval",
	"severity": "medium",
	"remedy": "Send the content of every source, not only its digest, and keep plans within the limits.",
	"step": "s1",
	"facts": facts,
}

document(tool, grounding) := testing.but(scene.scene(tool, ["send"], []), {"grounding": grounding})

cut := {"complete": false, "unsearched": [], "truncated": true}

hidden(source) := {"complete": false, "unsearched": [source], "truncated": false}

test_a_search_that_was_cut_short_needs_a_person if {
	findings(document("mail/send", cut)) == {finding([{"pointer": "/grounding", "value": cut}])}
}

test_an_untrusted_source_known_by_digest_only_needs_a_person if {
	count(findings(document("mail/send", hidden("page")))) == 1
}

test_a_memory_known_by_digest_only_needs_a_person if {
	asked := testing.but(document("mail/send", hidden("m")), {"sources": [testing.prompt, testing.source("m", "memory", "")]})
	count(findings(asked)) == 1
}

test_an_unknown_source_counts_as_untrusted if {
	count(findings(document("mail/send", hidden("ghost")))) == 1
}

test_a_trusted_source_known_by_digest_only_is_not_found if {
	findings(document("mail/send", hidden("u1"))) == set()
}

test_reading_is_not_found if {
	findings(document("mail/read", cut)) == set()
}

test_an_unknown_agent_is_found_out_too if {
	count(findings(testing.from_stranger(document("mail/send", cut)))) == 1
}
