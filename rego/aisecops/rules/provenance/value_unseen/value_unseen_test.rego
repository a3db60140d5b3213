package aisecops.rules.provenance.value_unseen_test

import data.aisecops.rules.provenance.value_unseen
import data.aisecops.testing
import data.aisecops.testing.scene

findings(document) := found if {
	found := value_unseen.findings with input as document with data.tables as scene.tables
}

finding(facts) := {
	"rule": "provenance.value_unseen",
	"title": "Value without origin",
	"message": "Nobody named whom or what the call concerns, neither the human nor any record.",
	"effect": "require_approval",
	"severity": "medium",
	"remedy": "Look the value up in a record, or let the human name it.",
	"step": "s1",
	"facts": facts,
}

unseen := scene.value("to", "email", "ghost@corp.example", [])

test_a_destination_that_nobody_named_needs_a_person if {
	findings(scene.scene("mail/send", ["send"], [unseen])) == {finding(scene.facts(["to", "ghost@corp.example"], []))}
}

paying := {"effect": "spend", "reach": "external", "arguments": {"iban": "destination", "order": "object"}}

test_nobody_is_paid_whom_nobody_named_even_where_nobody_else_has_a_say if {
	account := scene.value("iban", "iban", "DE89370400440532013000", [])
	document := scene.among_ourselves(scene.scene("bank/pay", ["send"], [account]))
	found := value_unseen.findings with input as document
		with data.tables as object.union(scene.tables, {"tools": {"bank/pay": testing.tool(paying)}})
	{fact.value | some item in found; some fact in item.facts} == {"DE89370400440532013000"}
}

test_whom_the_human_named_is_paid if {
	account := scene.value("iban", "iban", "DE89370400440532013000", [scene.prose("u1")])
	document := scene.among_ourselves(scene.scene("bank/pay", ["send"], [account]))
	found := value_unseen.findings with input as document
		with data.tables as object.union(scene.tables, {"tools": {"bank/pay": testing.tool(paying)}})
	found == set()
}

test_what_is_paid_for_may_be_the_agents_choice_among_ourselves if {
	order := scene.value("order", "identifier", "order-77", [])
	document := scene.among_ourselves(scene.scene("bank/pay", ["send"], [order]))
	found := value_unseen.findings with input as document
		with data.tables as object.union(scene.tables, {"tools": {"bank/pay": testing.tool(paying)}})
	found == set()
}

test_so_does_an_undescribed_argument_that_is_an_address if {
	value := scene.value("x", "url", "ghost.example/a", [])
	count(findings(scene.scene("wiki/edit", ["edit"], [value]))) == 1
}

test_so_does_what_would_be_destroyed if {
	value := scene.value("id", "number", "99", [])
	count(findings(scene.scene("mail/delete", ["delete", "mail"], [value]))) == 1
}

test_the_agents_own_words_are_not_found if {
	value := scene.value("x", "phrase", "a fresh idea", [])
	findings(scene.scene("wiki/edit", ["edit"], [value])) == set()
}

test_nothing_is_found_where_nobody_else_has_a_say if {
	findings(scene.among_ourselves(scene.scene("mail/send", ["send"], [unseen]))) == set()
}

test_a_plan_without_sources_has_not_said_that_nobody_has if {
	document := testing.but(scene.scene("mail/send", ["send"], [unseen]), {"sources": []})
	count(findings(document)) == 1
}

test_an_unknown_agent_is_found_out_too if {
	count(findings(testing.from_stranger(scene.scene("mail/send", ["send"], [unseen])))) == 1
}

test_so_does_an_object_that_is_an_address if {
	value := scene.value("page_id", "url", "ghost.example/a", [])
	count(findings(scene.scene("wiki/edit", ["edit"], [value]))) == 1
}
