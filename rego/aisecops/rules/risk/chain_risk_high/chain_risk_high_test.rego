package aisecops.rules.risk.chain_risk_high_test

import data.aisecops.rules.risk.chain_risk_high
import data.aisecops.testing

findings(document) := found if {
	found := chain_risk_high.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "risk.chain_risk_high",
	"title": "High chain risk",
	"message": "What the session has done and is about to do adds up to more risk than an agent may take alone.",
	"effect": "require_approval",
	"severity": "high",
	"remedy": "Ask for approval of exactly this plan, or split the work between sessions that people start.",
	"step": step,
	"facts": facts,
}

sends(count_) := testing.but(
	testing.document([testing.step("mail/send", {"to": "a@example.com"})]),
	{
		"sources": [testing.prompt, testing.source("w1", "tool_result", "web/fetch")],
		"history": [{"step_id": "h", "tool": "mail/send", "observed": true} | some _ in numbers.range(1, count_)],
	},
)

# One mail counts 150 x 2 = 300, times 1.5 when a page from outside may have influenced it.
test_six_mails_and_one_more_are_found if {
	findings(sends(6)) == {finding("", [{"pointer": "/plan/steps/0/tool", "value": "mail/send"}])}
}

test_an_agent_that_says_only_the_prompt_influenced_it_gains_nothing if {
	step := object.union(testing.step("mail/send", {"to": "a@example.com"}), {"influenced_by": ["u1"]})
	asked := testing.but(testing.document([step]), {"sources": sends(6).sources, "history": sends(6).history})
	count(findings(asked)) == 1
}

test_five_mails_and_one_more_are_not_found if {
	findings(sends(5)) == set()
}

test_extreme_risk_is_left_to_its_own_rule if {
	findings(sends(20)) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(sends(6)))) == 1
}
