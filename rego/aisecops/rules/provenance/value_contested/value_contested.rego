# METADATA
# title: Also named by untrusted text
# description: A record has the value, but untrusted text names it too and may have steered the choice.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: medium
#   owner: platform-security
#   remedy: Let the human confirm that this is the one that they meant.
#   mappings: [owasp-llm-2025:LLM01, owasp-agentic-2026:ASI01]
package aisecops.rules.provenance.value_contested

import data.aisecops.lib.provenance
import data.aisecops.result

findings contains finding if {
	some joined in provenance.changing
	provenance.wanted(joined)
	facts := provenance.facts_of(joined, suspects)
	count(facts) > 0
	finding := result.finding(rego.metadata.chain(), joined.id, facts)
}

# METADATA
# description: Contested values that select whom or what the call concerns.
suspects := [judgement |
	some judgement in provenance.judged
	judgement.class == "contested"
	judgement.role in provenance.selecting
]
