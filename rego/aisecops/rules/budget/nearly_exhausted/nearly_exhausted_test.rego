package aisecops.rules.budget.nearly_exhausted_test

import data.aisecops.rules.budget.nearly_exhausted
import data.aisecops.testing

findings(document, limits) := found if {
	found := nearly_exhausted.findings with input as document with data.tables as testing.limiting(limits, {})
}

asking := object.union(testing.limit("agent", "support", "calls", "day", 10), {"ask_above": 8})

asked(used) := testing.counted(
	testing.one("crm/read", {}),
	{"agent:support/calls/day": testing.counter(used, 0)},
)

test_a_plan_that_steps_over_the_threshold_is_found if {
	findings(asked(8), [asking]) == {{
		"rule": "budget.nearly_exhausted",
		"title": "Budget nearly used up",
		"message": "The budget agent:support/calls/day comes close to its end: 8 are used, 0 reserved and 1 asked of 10.",
		"effect": "require_approval",
		"severity": "low",
		"remedy": "Ask for approval of exactly this plan, or again when the budget begins anew (at 2026-01-02T00:00:00Z).",
		"step": "",
		"facts": [{"pointer": "/usage/counters/agent:support~1calls~1day", "value": testing.counter(8, 0)}],
	}}
}

test_a_plan_at_the_threshold_is_not_found if {
	findings(asked(7), [asking]) == set()
}

test_a_plan_beyond_the_limit_is_left_to_the_rule_that_denies if {
	findings(asked(10), [asking]) == set()
}

test_a_limit_without_a_threshold_asks_nobody if {
	findings(asked(9), [testing.limit("agent", "support", "calls", "day", 10)]) == set()
}

test_an_unknown_agent_has_no_limits if {
	findings(testing.from_stranger(asked(9)), [asking]) == set()
}
