# METADATA
# title: High chain risk
# description: What the session has done and is about to do adds up to more risk than an agent may take alone.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: high
#   owner: secops
#   remedy: Ask for approval of exactly this plan, or split the work between sessions that people start.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI08]
package aisecops.rules.risk.chain_risk_high

import data.aisecops.lib.risk
import data.aisecops.result

findings contains finding if {
	risk.score_milli >= data.tables.risk.approval_at_milli
	risk.score_milli < data.tables.risk.deny_at_milli
	finding := result.finding(rego.metadata.chain(), "", risk.facts)
}
