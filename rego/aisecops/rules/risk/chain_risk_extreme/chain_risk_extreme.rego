# METADATA
# title: Extreme chain risk
# description: What the session has done and is about to do adds up to more risk than anybody may approve.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: critical
#   owner: secops
#   remedy: End the session and look at what it did; start again with a smaller task.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI08]
package aisecops.rules.risk.chain_risk_extreme

import data.aisecops.lib.risk
import data.aisecops.result

findings contains finding if {
	risk.score_milli >= data.tables.risk.deny_at_milli
	finding := result.finding(rego.metadata.chain(), "", risk.facts)
}
