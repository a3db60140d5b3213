# METADATA
# title: Wrong environment
# description: The agent is not registered for the environment that the plan is for.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Run the plan in an environment of the agent, or register it for this one in data/agents.yaml.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.identity.environment_mismatched

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	lib.agent
	not lib.agent.environments[input.environment]
	finding := result.finding(rego.metadata.chain(), "", [
		lib.principal_fact,
		{"pointer": "/environment", "value": input.environment},
	])
}
