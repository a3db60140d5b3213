package aisecops.rules.budget.frozen_test

import data.aisecops.rules.budget.frozen
import data.aisecops.testing

findings(document, limits) := found if {
	found := frozen.findings with input as document with data.tables as testing.limiting(limits, {})
}

daily := testing.limit("agent", "support", "calls", "day", 10)

iced := object.union(testing.counter(3, 0), {"frozen": true})

asked(counters) := testing.counted(testing.one("crm/read", {}), counters)

test_a_frozen_budget_is_found_however_much_room_it_has if {
	findings(asked({"agent:support/calls/day": iced}), [daily]) == {{
		"rule": "budget.frozen",
		"title": "Budget frozen",
		"message": "The budget agent:support/calls/day is frozen, because more was used than was asked for or a person froze it.",
		"effect": "deny",
		"severity": "high",
		"remedy": "Find out what was used (3 of 10), and have somebody unfreeze it with 'aisecops budget adjust'.",
		"step": "",
		"facts": [{"pointer": "/usage/counters/agent:support~1calls~1day", "value": iced}],
	}}
}

test_a_frozen_budget_that_does_not_concern_the_plan_is_not_found if {
	findings(asked({"agent:support/writes/day": iced}), [daily]) == set()
	findings(asked({"agent:support/calls/day": testing.counter(3, 0)}), [daily]) == set()
}

test_an_unknown_agent_has_no_limits if {
	findings(testing.from_stranger(asked({"agent:support/calls/day": iced})), [daily]) == set()
}
