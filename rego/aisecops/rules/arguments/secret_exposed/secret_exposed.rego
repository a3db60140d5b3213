# METADATA
# title: Secret leaves the company
# description: An argument of a call that leaves the company holds a key, token or private key.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: critical
#   owner: platform-security
#   remedy: Pass a reference to the secret, and let the tool's server look it up.
#   mappings: [owasp-llm-2025:LLM02, owasp-agentic-2026:ASI03]
package aisecops.rules.arguments.secret_exposed

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	outward
	regex.match(pattern, lib.plan_text)
	some text in lib.texts
	joined := lib.steps[text.index]
	joined.entry.reach == "external"
	regex.match(pattern, text.value)
	finding := result.finding(rego.metadata.chain(), joined.id, [{
		"pointer": lib.text_pointer(text),
		"value": sprintf("(%d characters with a secret, not shown)", [count(text.value)]),
	}])
}

# METADATA
# description: Whether any call leaves the company.
outward if {
	some joined in lib.steps
	joined.entry.reach == "external"
}

# METADATA
# description: |
#   Private keys, and the formats that issuers chose to be recognised by. One literal, so that it is compiled once.
pattern := `-----BEGIN [A-Z0-9 ]*PRIVATE KEY|(AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40}|glpat-[A-Za-z0-9_-]{20}|xox[abeoprs]-[A-Za-z0-9-]{10}|[rs]k_live_[A-Za-z0-9]{16}|AIza[A-Za-z0-9_-]{35}|npm_[A-Za-z0-9]{36}|\b(sk-[A-Za-z0-9_-]{20}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8})`
