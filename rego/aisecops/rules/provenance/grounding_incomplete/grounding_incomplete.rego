# METADATA
# title: Origin not established
# description: Some sources could not be searched, so a value may come from untrusted text without being seen there.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: medium
#   owner: platform-security
#   remedy: Send the content of every source, not only its digest, and keep plans within the limits.
#   mappings: [owasp-llm-2025:LLM01, owasp-llm-2025:LLM08, owasp-agentic-2026:ASI01, owasp-agentic-2026:ASI06]
package aisecops.rules.provenance.grounding_incomplete

import data.aisecops.lib
import data.aisecops.lib.provenance
import data.aisecops.result

findings contains finding if {
	unknown
	some joined in provenance.changing
	finding := result.finding(rego.metadata.chain(), joined.id, [fact])
}

fact := {"pointer": "/grounding", "value": input.grounding}

# METADATA
# description: |
#   Whether the search hit its bound, or a source is known by its digest only that is not trusted. Of our own memory
#   or records, too, the text decides: what stands there in prose may be dictated.
unknown if input.grounding.truncated

unknown if {
	some id in input.grounding.unsearched
	lib.rank_of(id) > 0
}
