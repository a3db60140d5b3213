package aisecops.rules.budget.exhausted_test

import data.aisecops.rules.budget.exhausted
import data.aisecops.testing

findings(document, limits, of_tools) := found if {
	found := exhausted.findings with input as document with data.tables as testing.limiting(limits, of_tools)
}

finding(message, reset, facts) := {
	"rule": "budget.exhausted",
	"title": "Budget used up",
	"message": message,
	"effect": "deny",
	"severity": "medium",
	"remedy": sprintf(
		"Ask for less, or again when the budget begins anew (%s), or raise the limit in data/budgets.yaml.",
		[reset],
	),
	"step": "",
	"facts": facts,
}

daily(figure) := testing.limit("agent", "support", "calls", "day", figure)

two := testing.document([testing.step("crm/read", {}), testing.step("crm/read", {})])

asked(used, reserved) := testing.counted(two, {"agent:support/calls/day": testing.counter(used, reserved)})

test_a_plan_for_which_there_is_no_room_is_found if {
	found := findings(asked(7, 2), [daily(10)], {})
	found == {finding(
		"The budget agent:support/calls/day has no room: 7 are used, 2 reserved and 2 asked of 10.",
		"at 2026-01-02T00:00:00Z",
		[{"pointer": "/usage/counters/agent:support~1calls~1day", "value": testing.counter(7, 2)}],
	)}
}

test_a_plan_that_just_fits_is_not_found if {
	findings(asked(6, 2), [daily(10)], {}) == set()
	findings(testing.counted(two, {}), [daily(2)], {}) == set()
}

test_a_plan_larger_than_the_whole_limit_is_told_that_waiting_does_not_help if {
	found := findings(testing.counted(two, {}), [daily(1)], {})
	found == {finding(
		"The budget agent:support/calls/day has no room: 0 are used, 0 reserved and 2 asked of 1.",
		"never for a plan of this size",
		[],
	)}
}

test_every_limit_that_has_no_room_is_found_once if {
	sessions := testing.limit("session", "", "calls", "session", 1)
	team := testing.limit("team", "desk-team", "micro_usd", "month", 0)
	tool := testing.limit("tool", "crm/read", "calls", "hour", 1)
	found := findings(testing.counted(two, {}), [daily(1), sessions, team], {"crm/read": [tool]})
	{split(each.message, " ")[2] | some each in found} == {
		"agent:support/calls/day",
		"session:support#session-1/calls/session",
		"tool:crm/read/calls/hour",
	}
	"with a new session" in {split(split(each.remedy, "(")[1], ")")[0] | some each in found}
}

test_what_was_spent_beyond_a_limit_stops_the_next_plan_even_if_it_asks_for_nothing if {
	spent := testing.counted(two, {"agent:support/micro_usd/day": testing.counter(101, 0)})
	count(findings(spent, [testing.limit("agent", "support", "micro_usd", "day", 100)], {})) == 1
	count(findings(spent, [testing.limit("agent", "support", "micro_usd", "day", 101)], {})) == 0
}

test_writes_that_a_plan_does_not_make_are_not_found if {
	full := testing.counted(two, {"agent:support/writes/day": testing.counter(9, 0)})
	findings(full, [testing.limit("agent", "support", "writes", "day", 3)], {}) == set()
}

test_an_unknown_agent_has_no_limits if {
	findings(testing.from_stranger(asked(99, 0)), [daily(10)], {}) == set()
}
