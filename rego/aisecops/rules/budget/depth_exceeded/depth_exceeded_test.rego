package aisecops.rules.budget.depth_exceeded_test

import data.aisecops.rules.budget.depth_exceeded
import data.aisecops.testing

findings(document, agent, tool) := found if {
	tables := object.union(testing.tables, {"agents": {"support": agent}, "tools": {"crm/read": tool}})
	found := depth_exceeded.findings with input as document with data.tables as tables
}

chain(ids) := testing.but(testing.one("crm/read", {}), {"delegation": [{"agent_id": id, "trace_id": ""} | some id in ids]})

facts := [
	{"pointer": "/delegation/0/agent_id", "value": "boss"},
	{"pointer": "/delegation/1/agent_id", "value": "lead"},
]

finding(step, facts) := {
	"rule": "budget.depth_exceeded",
	"title": "Deeper than the budget",
	"message": "More agents stand above the caller than a budget lets: 2, and at most 1 may.",
	"effect": "deny",
	"severity": "high",
	"remedy": "Call the agent more directly, or raise the depth of its profile, team, tenant or tool in data/budgets.yaml.",
	"step": step,
	"facts": facts,
}

test_a_chain_longer_than_the_agents_budget_is_found if {
	findings(chain(["boss", "lead"]), {"depth": 1}, {}) == {finding("", facts)}
}

test_a_chain_longer_than_a_tools_budget_is_found_at_its_step if {
	tool := {"pointer": "/plan/steps/0/tool", "value": "crm/read"}
	findings(chain(["boss", "lead"]), {}, {"depth": 1}) == {finding("s1", array.concat([tool], facts))}
}

test_a_chain_as_long_as_the_budget_or_no_budget_is_not_found if {
	findings(chain(["boss", "lead"]), {"depth": 2}, {"depth": 2}) == set()
	findings(chain(["boss", "lead"]), {}, {}) == set()
	findings(chain([]), {"depth": 0}, {"depth": 0}) == set()
}

test_an_unknown_agent_is_held_to_the_tools_budget if {
	found := findings(testing.from_stranger(chain(["boss", "lead"])), {"depth": 0}, {"depth": 1})
	{each.step | some each in found} == {"s1"}
}
