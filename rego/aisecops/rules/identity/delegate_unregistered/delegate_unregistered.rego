# METADATA
# title: Unregistered agent in the chain
# description: No table knows an agent on whose behalf the caller acts.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Register every agent of the chain in data/agents.yaml.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03, owasp-agentic-2026:ASI07]
package aisecops.rules.identity.delegate_unregistered

import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index when nobody stands above the agent.
	_ = input.delegation[0]
	some index, above in input.delegation
	not data.tables.agents[above.agent_id]
	finding := result.finding(rego.metadata.chain(), "", [{
		"pointer": sprintf("/delegation/%d/agent_id", [index]),
		"value": above.agent_id,
	}])
}
