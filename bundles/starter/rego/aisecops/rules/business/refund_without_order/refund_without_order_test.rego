package aisecops.rules.business.refund_without_order_test

import data.aisecops.rules.business.refund_without_order
import data.aisecops.testing

found(document) := findings if {
	findings := refund_without_order.findings with input as document with data.tables as testing.tables
}

refund(arguments) := testing.one("crm/issue_refund", arguments)

test_a_refund_without_an_order_needs_approval if {
	found(refund({"customer_id": "c-1", "amount": 20})) == {{
		"rule": "business.refund_without_order",
		"title": "Refund without an order",
		"message": "A refund names the order that it pays back, so that finance can match it.",
		"effect": "require_approval",
		"severity": "medium",
		"step": "s1",
		"facts": [{"pointer": "/plan/steps/0/tool", "value": "crm/issue_refund"}],
		"remedy": "Give the order's number as `order_id`.",
	}}
}

test_a_refund_that_names_its_order_is_left_alone if {
	found(refund({"customer_id": "c-1", "amount": 20, "order_id": "o-7"})) == set()
}

test_an_unknown_agent_is_told_too if {
	count(found(testing.from_stranger(refund({"customer_id": "c-1", "amount": 20})))) == 1
}
