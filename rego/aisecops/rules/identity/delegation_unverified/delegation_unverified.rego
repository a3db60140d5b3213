# METADATA
# title: Delegation not shown by the log
# description: The log does not show that an agent of the chain acted as the plan says.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Name for each agent of the chain, outermost first, the trace in which it was allowed to act, and leave none out.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03, owasp-agentic-2026:ASI07]
package aisecops.rules.identity.delegation_unverified

import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index when nobody stands above the agent.
	_ = input.delegation[0]
	some index, above in input.delegation
	object.get(above, "verified", false) != true
	finding := result.finding(rego.metadata.chain(), "", [
		{"pointer": sprintf("/delegation/%d/agent_id", [index]), "value": object.get(above, "agent_id", "")},
		{"pointer": sprintf("/delegation/%d/trace_id", [index]), "value": object.get(above, "trace_id", "")},
	])
}
