# METADATA
# title: Capability beyond the chain
# description: An agent on whose behalf the caller acts does not itself hold the capability.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Let an agent with the capability ask, or grant it to every agent of the chain.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.capability.delegate_lacks_capability

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index when nobody stands above the agent.
	_ = input.delegation[0]
	some index, above in input.delegation
	some joined in lib.steps
	joined.grant.capability != ""
	not data.tables.agents[above.agent_id].capabilities[joined.grant.capability]
	finding := result.finding(rego.metadata.chain(), joined.id, [
		{"pointer": sprintf("/delegation/%d/agent_id", [index]), "value": above.agent_id},
		lib.tool_fact(joined),
	])
}
