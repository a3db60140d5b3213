package aisecops.rules.risk.chain_risk_extreme_test

import data.aisecops.rules.risk.chain_risk_extreme
import data.aisecops.testing

findings(document) := found if {
	found := chain_risk_extreme.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "risk.chain_risk_extreme",
	"title": "Extreme chain risk",
	"message": "What the session has done and is about to do adds up to more risk than anybody may approve.",
	"effect": "deny",
	"severity": "critical",
	"remedy": "End the session and look at what it did; start again with a smaller task.",
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

test_thirteen_mails_are_found if {
	findings(sends(13)) == {finding("", [{"pointer": "/plan/steps/0/tool", "value": "mail/send"}])}
}

test_eleven_mails_and_one_more_are_not_found if {
	findings(sends(11)) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(sends(13)))) == 1
}
