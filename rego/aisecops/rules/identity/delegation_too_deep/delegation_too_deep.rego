# METADATA
# title: Delegation too deep
# description: More agents stand above the caller than its registration accepts.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Call the agent more directly, or raise max_delegation_depth in data/agents.yaml.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03, owasp-agentic-2026:ASI08]
package aisecops.rules.identity.delegation_too_deep

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index when nobody stands above the agent.
	_ = input.delegation[0]
	count(input.delegation) > lib.agent.max_delegation_depth
	finding := result.finding(rego.metadata.chain(), "", [
	{"pointer": sprintf("/delegation/%d/agent_id", [index]), "value": above.agent_id} |
		some index, above in input.delegation
	])
}
