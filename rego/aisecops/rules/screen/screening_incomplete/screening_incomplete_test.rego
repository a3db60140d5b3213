package aisecops.rules.screen.screening_incomplete_test

import data.aisecops.rules.screen.screening_incomplete
import data.aisecops.testing
import data.aisecops.testing.texts

findings(document) := found if {
	found := screening_incomplete.findings with input as document with data.tables as texts.tables
}

finding(effect, facts) := {
	"rule": "screen.screening_incomplete",
	"title": "Text not screened to its end",
	"message": "There is more to tell of the text than can be told, so the rest of it is unknown.",
	"effect": effect,
	"severity": "high",
	"remedy": "Send the text in smaller parts.",
	"step": "p1",
	"facts": facts,
}

partly := [object.union(texts.part("p1", []), {"complete": false})]

test_a_text_that_could_not_be_told_whole_is_found if {
	asked := testing.but(texts.document("prompt", []), {"parts": partly})
	findings(asked) == {finding("deny", [{"pointer": "/parts/0/complete", "value": false}])}
}

test_a_text_that_was_told_whole_is_not_found if {
	findings(texts.document("prompt", [texts.seen("injection.override")])) == set()
}

test_an_unknown_agent_is_told_too if {
	asked := testing.from_stranger(testing.but(texts.document("prompt", []), {"parts": partly}))
	count(findings(asked)) == 1
}

test_a_plan_is_not_a_text if {
	findings(testing.one("crm/read", {})) == set()
}
