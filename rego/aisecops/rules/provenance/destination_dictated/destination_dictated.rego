# METADATA
# title: Address from untrusted text
# description: An address or account to which the call would go stands in untrusted text only.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: critical
#   owner: platform-security
#   remedy: Use an address that the human gave or that a directory has; or ask the human to name it.
#   mappings: [owasp-llm-2025:LLM01, owasp-agentic-2026:ASI01, owasp-llm-2025:LLM02]
package aisecops.rules.provenance.destination_dictated

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
# description: Addresses, hosts and accounts that nobody but untrusted text named.
suspects := [judgement |
	some judgement in provenance.judged
	judgement.class == "dictated"
	judgement.role in provenance.selecting
	judgement.value.shape in provenance.distinctive
]
