package aisecops.rules.approval.agent_requires_approval_test

import data.aisecops.rules.approval.agent_requires_approval
import data.aisecops.testing

careful := object.union(testing.tables, {"agents": {
	"support": {"approval": {"desk": true}},
	"triage": {"approval": {"other": true}},
}})

findings(document, tables) := found if {
	found := agent_requires_approval.findings with input as document with data.tables as tables
}

finding(who) := {
	"rule": "approval.agent_requires_approval",
	"title": "Agent requires approval",
	"message": "People must agree whenever this agent, or one on whose behalf it acts, uses this capability.",
	"effect": "require_approval",
	"severity": "medium",
	"remedy": "Ask for approval of exactly this plan.",
	"step": "s1",
	"facts": [who, {"pointer": "/plan/steps/0/tool", "value": "crm/read"}],
}

below(agent) := object.union(testing.one("crm/read", {}), {"delegation": [{"agent_id": agent, "trace_id": ""}]})

test_a_capability_for_which_the_agent_needs_people_is_found if {
	findings(testing.one("crm/read", {}), careful) == {finding({"pointer": "/principal/id", "value": "support"})}
}

test_another_agents_need_is_not_this_ones if {
	tables := object.union(testing.tables, {"agents": {"triage": {"approval": {"desk": true}}}})
	findings(testing.one("crm/read", {}), tables) == set()
}

test_who_acts_for_an_agent_that_needs_people_needs_them_too if {
	tables := object.union(testing.tables, {"agents": {"triage": {"approval": {"desk": true}}}})
	findings(below("triage"), tables) == {finding({"pointer": "/delegation/0/agent_id", "value": "triage"})}
}

test_another_capability_is_not_found if {
	tables := object.union(testing.tables, {"agents": {"support": {"approval": {"other": true}}}})
	findings(testing.one("crm/read", {}), tables) == set()
}

test_an_agent_that_needs_nobody_and_one_that_is_unknown_are_not_found if {
	findings(testing.one("crm/read", {}), testing.tables) == set()
	findings(testing.from_stranger(testing.one("crm/read", {})), careful) == set()
	findings(below("nobody"), testing.tables) == set()
}
