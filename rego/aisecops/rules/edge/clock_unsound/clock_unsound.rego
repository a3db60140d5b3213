# METADATA
# title: Clock went back
# description: |
#   The clock of this edge's machine went back since the centre confirmed its policy, so nobody knows how old it is.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Set the clock right and let the edge reach its centre; what it says then counts again.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI08]
package aisecops.rules.edge.clock_unsound

import data.aisecops.result

findings contains finding if {
	input.edge.clock_sound == false
	finding := result.finding(rego.metadata.chain(), "", [{"pointer": "/edge/clock_sound", "value": false}])
}
