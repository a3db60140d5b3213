package aisecops.rules.arguments.characters_hidden_test

import data.aisecops.rules.arguments.characters_hidden
import data.aisecops.testing

findings(document) := found if {
	found := characters_hidden.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "arguments.characters_hidden",
	"title": "Hidden characters",
	"message": "An argument holds characters that people do not see or that reorder what they see.",
	"effect": "require_approval",
	"severity": "high",
	"remedy": "Remove the invisible characters, or ask for approval of exactly this plan.",
	"step": step,
	"facts": facts,
}

note(text) := testing.one("crm/update", {"note": text})

test_every_kind_of_hidden_character_is_found if {
	every text in [
		"pay\u200bpal", "\u202egnp.exe", "a\u2066b\u2069", "x\ufeff", "ig\u200dnore", "\u200cno", "hi\u2063",
		"hi\ufe01\ufe02\ufe03", "hello \udb40\udc49\udb40\udc47\udb40\udc4e",
	] {
		findings(note(text)) == {finding("s1", [{"pointer": "/plan/steps/0/arguments/note", "value": text}])}
	}
}

test_scripts_and_emoji_that_need_joiners_are_not_found if {
	every text in ["\u06cc\u0647\u200c\u0627\u06cc", "\ud83d\udc68\u200d\ud83d\udc69\u200d\ud83d\udc67", "na\u00efve caf\u00e9", "line\nbreak\ttab"] {
		findings(note(text)) == set()
	}
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(note("a\u200bb")))) == 1
}
