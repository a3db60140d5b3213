package aisecops.rules.screen.malformed_test

import data.aisecops.rules.screen.malformed
import data.aisecops.testing
import data.aisecops.testing.texts

findings(document) := found if {
	found := malformed.findings with input as document with data.tables as texts.tables
}

finding(effect, facts) := {
	"rule": "screen.malformed",
	"title": "Malformed text document",
	"message": "The document about a text does not have the shape that rules rely on.",
	"effect": effect,
	"severity": "critical",
	"remedy": "Send a text that follows the contract; nothing was allowed.",
	"step": "",
	"facts": facts,
}

test_a_document_without_its_parts_is_found if {
	findings(json.remove(texts.document("prompt", []), ["/parts"])) == {finding("deny", [])}
}

test_a_detection_that_cannot_be_read_is_found if {
	every odd in [
		{}, "x", json.remove(texts.seen("injection.override"), ["/start"]),
		object.union(texts.seen("injection.override"), {"end": 10}),
		object.union(texts.seen("injection.override"), {"detector": 7}),
	] {
		findings(texts.document("prompt", [odd])) == {finding("deny", [])}
	}
}

test_a_whole_document_is_not_found if {
	findings(texts.document("output", [texts.seen("injection.override")])) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(texts.document("sideways", [])))) == 1
}

test_a_plan_is_not_a_text if {
	findings(testing.one("crm/read", {})) == set()
}
