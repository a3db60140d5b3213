package aisecops.rules.capability.outside_scope_test

import data.aisecops.rules.capability.outside_scope
import data.aisecops.testing

findings(document) := found if {
	held := {"desk": {"granted_by": "alice", "id": "support#desk", "scopes": {"crm/refund": [
		check("customer", {"texts": {"c-1": true}}, "c-1"),
		check("amount", {"at_least": 0, "at_most": 50}, "0 to 50"),
	]}}}
	found := outside_scope.findings with input as document with data.tables as testing.granting(held)
}

check(argument, is, says) := {"places": [[argument]], "required": true, "says": says, "is": is}

finding(outside, facts) := {
	"rule": "capability.outside_scope",
	"title": "Outside the scope of the grant",
	"message": sprintf("The grant support#desk does not cover the call: %s.", [outside]),
	"effect": "deny",
	"severity": "high",
	"remedy": "Stay within the scope, or ask alice to widen it in data/agents.yaml.",
	"step": "s1",
	"facts": array.concat([{"pointer": "/plan/steps/0/tool", "value": "crm/refund"}], facts),
}

refund(customer, amount) := testing.one("crm/refund", {"customer": customer, "amount": amount})

test_each_argument_outside_of_its_scope_is_told_with_its_value if {
	findings(refund("c-2", 51)) == {finding("amount must be within 0 to 50; customer must be within c-1", [
		{"pointer": "/plan/steps/0/arguments/customer", "value": "c-2"},
		{"pointer": "/plan/steps/0/arguments/amount", "value": 51},
	])}
}

test_an_argument_that_is_missing_is_told_without_a_value if {
	findings(testing.one("crm/refund", {"customer": "c-1"})) == {finding("amount must be within 0 to 50", [
		{"pointer": "/plan/steps/0/arguments/amount", "value": null},
	])}
}

test_a_tool_of_which_the_scopes_say_nothing_is_told if {
	some found in findings(testing.one("crm/read", {}))
	found.message == "The grant support#desk does not cover the call: the tool must be within the tools that its scopes limit."
	found.facts[1] == {"pointer": "/plan/steps/0/arguments", "value": null}
}

test_no_more_is_told_than_somebody_reads if {
	many := testing.one("crm/refund", {"customer": [sprintf("c-%d", [n]) | some n in numbers.range(2, 99)], "amount": 5})
	count(findings(many)) == 1
	some found in findings(many)
	count(found.facts) == 9
}

test_a_call_within_the_scopes_is_not_found if {
	findings(refund("c-1", 50)) == set()
}

test_an_unknown_agent_holds_no_grant if {
	findings(testing.from_stranger(refund("c-2", 51))) == set()
}
