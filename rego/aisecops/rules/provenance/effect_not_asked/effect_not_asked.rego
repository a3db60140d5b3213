# METADATA
# title: Not asked for
# description: The agent has read untrusted text, and the human did not ask for this effect.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: high
#   owner: platform-security
#   remedy: Let the human ask for it, or confirm it.
#   mappings: [owasp-llm-2025:LLM01, owasp-agentic-2026:ASI01, owasp-llm-2025:LLM06]
package aisecops.rules.provenance.effect_not_asked

import data.aisecops.lib
import data.aisecops.lib.provenance
import data.aisecops.result

findings contains finding if {
	some joined in provenance.changing
	provenance.tainted
	not provenance.wanted(joined)
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.tool_fact(joined)])
}
