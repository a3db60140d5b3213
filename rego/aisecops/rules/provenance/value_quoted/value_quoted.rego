# METADATA
# title: Chosen by untrusted text
# description: Whom or what the call concerns was taken from untrusted text, although the human asked for the effect.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: high
#   owner: platform-security
#   remedy: Let the human confirm the value, or take it from a record.
#   mappings: [owasp-llm-2025:LLM01, owasp-agentic-2026:ASI01]
package aisecops.rules.provenance.value_quoted

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
# description: Values from a text that the human named, and names from any text.
suspects := [judgement |
	some judgement in provenance.judged
	judgement.role in provenance.selecting
	quoted(judgement)
]

quoted(judgement) if judgement.class == "quoted"

quoted(judgement) if {
	judgement.class == "dictated"
	not judgement.value.shape in provenance.distinctive
}
