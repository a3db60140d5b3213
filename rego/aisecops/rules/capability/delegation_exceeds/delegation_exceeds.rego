# METADATA
# title: More than the chain may do
# description: An agent on whose behalf the caller acts may not make this call itself.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Let an agent ask that may do it and acts on its own, or give every agent of the chain a grant that covers the call.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.capability.delegation_exceeds

import data.aisecops.lib
import data.aisecops.lib.grants
import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index when nobody stands above the agent.
	_ = input.delegation[0]
	some index, above in input.delegation
	some joined in lib.steps
	joined.grant.capability != ""
	grants.covering(above.agent_id, joined.index).capability == ""
	finding := result.finding(rego.metadata.chain(), joined.id, [
		{"pointer": sprintf("/delegation/%d/agent_id", [index]), "value": above.agent_id},
		lib.tool_fact(joined),
	])
}
