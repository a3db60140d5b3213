# METADATA
# title: Link from untrusted text
# description: What is sent carries a link, address or account that stands in untrusted text only.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: high
#   owner: platform-security
#   remedy: Leave the reference out, or let the human confirm it.
#   mappings: [owasp-llm-2025:LLM01, owasp-agentic-2026:ASI01, owasp-llm-2025:LLM05]
package aisecops.rules.provenance.link_planted

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
# description: References inside outgoing content that only untrusted text has.
suspects := [judgement |
	some judgement in provenance.judged
	judgement.role == "reference"
	judgement.class in {"dictated", "quoted"}
]
