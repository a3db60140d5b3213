# METADATA
# title: Agent of another place
# description: This edge is not registered to decide for this agent.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: "Ask the centre, or list the agent under its edge in data/edges.yaml."
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.edge.agent_not_served

import data.aisecops.result

findings contains finding if {
	edge := input.edge.id
	not data.tables.edges[edge].agents[input.principal.id]
	finding := result.finding(rego.metadata.chain(), "", [
		{"pointer": "/edge/id", "value": edge},
		{"pointer": "/principal/id", "value": input.principal.id},
	])
}
