package aisecops.rules.arguments.secret_exposed_test

import data.aisecops.rules.arguments.secret_exposed
import data.aisecops.testing

findings(document) := found if {
	found := secret_exposed.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "arguments.secret_exposed",
	"title": "Secret leaves the company",
	"message": "An argument of a call that leaves the company holds a key, token or private key.",
	"effect": "deny",
	"severity": "critical",
	"remedy": "Pass a reference to the secret, and let the tool's server look it up.",
	"step": step,
	"facts": facts,
}

letters := concat("", ["abcdefghij" | some _ in numbers.range(1, 5)])

# Put together here, so that no file of the tree looks like it holds a secret.
secrets := [
	concat("", ["-----BEGIN RSA PRIV", "ATE KEY-----\nMII"]),
	concat("", ["AK", "IA", "ABCDEFGHIJ123456"]),
	concat("", ["gh", "p_", letters]),
	concat("", ["github", "_pat_", letters]),
	concat("", ["gl", "pat-", letters]),
	concat("", ["xo", "xb-", letters]),
	concat("", ["s", "k-", letters]),
	concat("", ["s", "k_live_", letters]),
	concat("", ["AI", "za", letters]),
	concat("", ["np", "m_", letters]),
	concat("", ["S", "G.", letters, ".", letters]),
	concat("", ["ey", "J", letters, ".ey", "J", letters, ".", letters]),
]

mail(body) := testing.one("mail/send", {"to": "a@example.com", "body": body})

test_every_known_format_is_found_and_not_shown if {
	every secret in secrets {
		body := sprintf("use %s for it", [secret])
		findings(mail(body)) == {finding("s1", [{
			"pointer": "/plan/steps/0/arguments/body",
			"value": sprintf("(%d characters with a secret, not shown)", [count(body)]),
		}])}
	}
}

test_a_secret_deep_in_the_arguments_is_found if {
	asked := testing.one("mail/send", {"attachments": [{"meta/data": {"key": secrets[1]}}]})
	[fact.pointer | some found in findings(asked); some fact in found.facts] == ["/plan/steps/0/arguments/attachments/0/meta~1data/key"]
}

test_a_secret_that_is_glued_to_a_label_or_is_a_key_is_found if {
	count(findings(mail(concat("", ["token_", secrets[1], "_x"])))) == 1
	asked := testing.one("mail/send", {"attachments": {"x": {secrets[1]: 1}}})
	count(findings(asked)) == 1
}

test_words_that_resemble_keys_are_not_found if {
	every body in ["the AKIA prefix", "a task-force of sk-aters", "desk-abcdefghijklmnopqrstuvwxyz", "BEGIN PUBLIC KEY"] {
		findings(mail(body)) == set()
	}
}

test_a_secret_that_stays_inside_is_not_found if {
	findings(testing.one("crm/update", {"note": secrets[1]})) == set()
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(mail(secrets[2])))) == 1
}
