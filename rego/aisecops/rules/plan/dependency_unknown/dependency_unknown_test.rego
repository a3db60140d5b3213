package aisecops.rules.plan.dependency_unknown_test

import data.aisecops.rules.plan.dependency_unknown
import data.aisecops.testing

findings(document) := found if {
	found := dependency_unknown.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "plan.dependency_unknown",
	"title": "Dependency on a later or unknown step",
	"message": "A step depends on something that is not an earlier step of the plan.",
	"effect": "deny",
	"severity": "medium",
	"remedy": "List the steps in the order in which they run, and name only earlier ones in depends_on.",
	"step": step,
	"facts": facts,
}

needing(first, second) := testing.document([
	object.union(testing.step("crm/read", {}), {"depends_on": first}),
	object.union(testing.step("crm/update", {}), {"depends_on": second}),
])

test_a_step_that_does_not_exist_is_found if {
	findings(needing([], ["s1", "s9"])) == {finding("s2", [{"pointer": "/plan/steps/1/depends_on/1", "value": "s9"}])}
}

test_a_later_step_and_the_step_itself_are_found if {
	count(findings(needing(["s2"], ["s2"]))) == 2
}

test_an_earlier_step_is_not_found if {
	findings(needing([], ["s1"])) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(needing(["s9"], [])))) == 1
}

after_call(observed) := testing.but(
	testing.document([object.union(testing.step("crm/read", {"id": "7"}), {"depends_on": ["h1"]})]),
	{"history": [{"step_id": "h1", "tool": "crm/read", "observed": observed}]},
)

test_a_call_that_the_session_made_before_is_known_and_one_that_is_only_claimed_is_not if {
	findings(after_call(true)) == set()
	count(findings(after_call(false))) == 1
}
