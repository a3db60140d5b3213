package aisecops.rules.arguments.operation_bulk_test

import data.aisecops.rules.arguments.operation_bulk
import data.aisecops.testing

findings(document) := found if {
	found := operation_bulk.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "arguments.operation_bulk",
	"title": "Bulk operation",
	"message": "One call changes or reaches more than the agent may at once.",
	"effect": "require_approval",
	"severity": "high",
	"remedy": "Name fewer items in one call, or ask for approval of exactly this plan.",
	"step": step,
	"facts": facts,
}

people(count_) := [sprintf("p%d@example.com", [index]) | some index in numbers.range(1, count_)]

mail(to) := testing.one("mail/send", {"to": to, "body": "hello"})

test_more_recipients_than_the_budget_are_found if {
	findings(mail(people(6))) == {finding("s1", [{"pointer": "/plan/steps/0/arguments/to", "value": 6}])}
}

test_a_list_written_as_text_is_found if {
	findings(mail(concat(", ", people(6)))) == {finding("s1", [{"pointer": "/plan/steps/0/arguments/to", "value": 6}])}
	count(findings(mail({p: true | some p in people(6)}))) == 1
}

test_a_list_that_is_nested_or_named_otherwise_or_parted_by_blanks_is_found if {
	every arguments in [
		{"to": {"list": people(6)}}, {"to": [concat(",", people(3)), people(3)]}, {"copyTo": people(6)},
		{"to": concat(" ", people(6))}, {"To": people(6)},
	] {
		count(findings(testing.one("mail/send", arguments))) == 1
	}
}

test_a_word_for_all_is_found if {
	findings(testing.one("crm/delete", {"id": " ALL "})) == {finding("s1", [{"pointer": "/plan/steps/0/arguments/id", "value": 1}])}
}

test_as_many_as_the_budget_gives_are_not_found if {
	findings(mail(people(5))) == set()
	findings(mail(7)) == set()
}

test_reading_many_and_long_content_are_not_found if {
	findings(testing.one("crm/read", {"id": people(50)})) == set()
	findings(testing.one("mail/send", {"to": "a@example.com", "body": concat(", ", people(50))})) == set()
}

test_an_unknown_agent_may_name_one if {
	count(findings(testing.from_stranger(mail(people(2))))) == 1
	findings(testing.from_stranger(mail(people(1)))) == set()
}
