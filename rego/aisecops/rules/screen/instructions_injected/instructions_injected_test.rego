package aisecops.rules.screen.instructions_injected_test

import data.aisecops.rules.screen.instructions_injected
import data.aisecops.testing
import data.aisecops.testing.texts

findings(document) := found if {
	found := instructions_injected.findings with input as document with data.tables as texts.tables
}

finding(effect, facts) := {
	"rule": "screen.instructions_injected",
	"title": "Instructions injected",
	"message": "The text tries to steer the model; it overrides instructions, poses as somebody, or asks for what it must not.",
	"effect": effect,
	"severity": "high",
	"remedy": "Remove the marked places. If the text only talks about such instructions, say so around them, or ask for a review.",
	"step": "p1",
	"facts": facts,
}

test_what_the_table_says_of_prompt_is_its_effect if {
	seen := texts.seen("injection.override")
	findings(texts.document("prompt", [seen])) == {finding("deny", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_what_the_table_says_of_output_is_its_effect if {
	seen := texts.seen("injection.override")
	findings(texts.document("output", [seen])) == {finding("require_approval", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_detections_of_another_kind_are_not_found if {
	findings(texts.document("prompt", [texts.seen("secret.jwt")])) == set()
}

test_a_text_without_detections_is_not_found if {
	findings(texts.document("prompt", [])) == set()
}

test_what_the_table_does_not_know_is_denied if {
	seen := texts.seen("injection.unheard_of")
	findings(texts.document("input", [seen])) == {finding("deny", [{"pointer": "/parts/0/detections/0", "value": seen}])}
}

test_an_unknown_agent_is_told_too if {
	asked := testing.from_stranger(texts.document("prompt", [texts.seen("injection.override")]))
	count(findings(asked)) == 1
}

test_a_plan_is_not_a_text if {
	findings(testing.one("crm/read", {})) == set()
}

test_what_is_quoted_or_discussed_has_a_meaning_of_its_own if {
	quoted := texts.quoted(texts.seen("injection.override"))
	discussed := object.union(texts.seen("injection.override"), {"discussed": true})
	every seen in [quoted, discussed] {
		findings(texts.document("prompt", [seen])) == {finding("require_approval", [{"pointer": "/parts/0/detections/0", "value": seen}])}
	}
}

test_what_is_said_of_an_agent_counts_before_what_is_said_of_everybody if {
	asked := testing.but(texts.document("prompt", [texts.seen("injection.override")]), {"principal": {"id": "triage", "authenticated_by": "mtls"}})
	[found.effect | some found in findings(asked)] == ["warn"]
}

test_each_meaning_is_one_finding_and_facts_are_few if {
	plain := [texts.seen("injection.override") | some _ in numbers.range(1, 40)]
	found := findings(texts.document("prompt", array.concat(plain, [texts.quoted(texts.seen("injection.override"))])))
	{item.effect: count(item.facts) | some item in found} == {"deny": 16, "require_approval": 1}
}
