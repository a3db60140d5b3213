# METADATA
# title: Value without origin
# description: Nobody named whom or what the call concerns, neither the human nor any record.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: medium
#   owner: platform-security
#   remedy: Look the value up in a record, or let the human name it.
#   mappings: [owasp-llm-2025:LLM01, owasp-llm-2025:LLM09, owasp-agentic-2026:ASI01]
package aisecops.rules.provenance.value_unseen

import data.aisecops.lib.provenance
import data.aisecops.result

findings contains finding if {
	some joined in provenance.changing
	provenance.tainted
	facts := provenance.facts_of(joined, suspects)
	count(facts) > 0
	finding := result.finding(rego.metadata.chain(), joined.id, facts)
}

# METADATA
# description: Values seen nowhere that decide where a call goes or what it destroys.
suspects := [judgement |
	some judgement in provenance.judged
	judgement.class == "unseen"
	judgement.role in provenance.selecting
	decisive(judgement)
]

decisive(judgement) if judgement.role == "destination"

decisive(judgement) if judgement.value.shape in provenance.distinctive

decisive(judgement) if judgement.joined.entry.effect in provenance.grave
