package aisecops.lib.budget_test

import data.aisecops.lib.budget
import data.aisecops.testing

three := testing.document([
	testing.step("crm/read", {}),
	testing.step("crm/update", {}),
	testing.step("crm/update", {}),
])

cost := {"tools": {"crm/update": {"micro_usd": 40, "wall_milliseconds": 200}}}

charges(document, limits, of_tools) := found if {
	tables := object.union(testing.limiting(limits, of_tools), {"costs": cost})
	found := budget.charges with input as document with data.tables as tables
}

daily(metric) := testing.limit("agent", "support", metric, "day", 1000)

charge(limit, spent, steps) := object.union(limit.charge, {
	"amount": spent + sum([amount | some amount in steps]),
	"spent": spent,
	"steps": steps,
	"enforced": true,
})

test_without_limits_nothing_is_charged if {
	charges(three, [], {}) == []
	charges(testing.counted(three, {}), [], {}) == []
}

test_calls_writes_and_costs_are_charged_step_by_step if {
	charges(testing.counted(three, {}), [daily("calls"), daily("writes"), daily("micro_usd"), daily("wall_milliseconds")], {}) == [
		charge(daily("calls"), 0, {"s1": 1, "s2": 1, "s3": 1}),
		charge(daily("writes"), 0, {"s2": 1, "s3": 1}),
		charge(daily("micro_usd"), 0, {"s1": 0, "s2": 40, "s3": 40}),
		charge(daily("wall_milliseconds"), 0, {"s1": 0, "s2": 200, "s3": 200}),
	]
}

used(models, tokens_in, tokens_out) := json.patch(testing.counted(three, {}), [{
	"op": "replace",
	"path": "/usage/reported",
	"value": {"input_tokens": tokens_in, "output_tokens": tokens_out, "models": models},
}])

test_what_models_took_before_the_plan_is_charged_to_all_but_tools if {
	document := used({"small": {"input_tokens": 10, "output_tokens": 5}}, 10, 5)
	tool := testing.limit("tool", "crm/read", "micro_usd", "hour", 1000)
	charges(document, [daily("tokens"), daily("micro_usd")], {"crm/read": [tool]}) == [
		charge(daily("tokens"), 15, {}),
		charge(daily("micro_usd"), 20, {"s1": 0, "s2": 40, "s3": 40}),
		charge(tool, 0, {"s1": 0}),
	]
}

test_a_started_unit_counts_and_an_unknown_model_costs_what_the_dearest_does if {
	one := {"input_tokens": 1, "output_tokens": 0}
	charges(used({"small": one}, 1, 0), [daily("micro_usd")], {})[0].spent == 1
	charges(used({"cheap trick": one}, 1, 0), [daily("micro_usd")], {})[0].spent == 9
	large := {"input_tokens": 123456789, "output_tokens": 987654321}
	charges(used({"small": large}, 1, 0), [daily("micro_usd")], {})[0].spent == 123456789 + (2 * 987654321)
}

test_a_tool_is_charged_once_with_its_own_steps if {
	tool := testing.limit("tool", "crm/update", "calls", "hour", 5)
	charges(testing.counted(three, {}), [], {"crm/update": [tool]}) == [charge(tool, 0, {"s2": 1, "s3": 1})]
}

test_a_session_is_charged_under_the_control_planes_own_name_for_it if {
	session := testing.limit("session", "", "calls", "session", 5)
	found := charges(testing.counted(three, {}), [session], {})
	[each.id | some each in found] == ["support#session-1"]
}

test_where_budgets_are_observed_charges_refuse_nothing if {
	tables := object.union(testing.limiting([daily("calls")], {}), {"modes": {"rules": {"budget.exhausted": "observe"}}})
	found := budget.charges with input as testing.counted(three, {}) with data.tables as tables
	[each.enforced | some each in found] == [false]
}

leasing(document, percents) := {each.limit | some each in found} if {
	tables := object.union(testing.limiting([daily("calls")], {}), percents)
	found := budget.charges with input as document with data.tables as tables
}

on_edge(id) := testing.but(testing.counted(three, {}), {"edge": {
	"id": id,
	"clock_sound": true,
	"bundle": {"counter": 1, "age_seconds": 1, "lifetime_seconds": 60},
}})

shares := {"edges": {"shop": {"budget_percent": 25}}, "lease": {"centre_percent": 70}}

test_an_edge_may_use_what_is_leased_to_it_and_the_centre_what_is_left if {
	leasing(on_edge("shop"), shares) == {250}
	leasing(testing.counted(three, {}), shares) == {700}
}

test_an_edge_to_which_nothing_is_leased_may_use_nothing if {
	leasing(on_edge("other"), shares) == {0}
	leasing(on_edge("shop"), {"edges": {"shop": {"budget_percent": 0}}}) == {0}
}

test_a_share_is_rounded_down if {
	odd := testing.limiting([testing.limit("agent", "support", "calls", "day", 7)], {})
	tables := object.union(odd, {"edges": {"shop": {"budget_percent": 50}}})
	found := budget.limits with input as on_edge("shop") with data.tables as tables
	[[each.charge.limit, each.ask_above] | some each in found] == [[3, 3]]
}
