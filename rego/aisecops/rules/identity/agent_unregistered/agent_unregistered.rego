# METADATA
# title: Unregistered agent
# description: No table knows the agent that asks.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: critical
#   owner: platform-security
#   remedy: Register the agent in data/agents.yaml with an owner and its capabilities.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03, owasp-agentic-2026:ASI10]
package aisecops.rules.identity.agent_unregistered

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	not lib.agent
	finding := result.finding(rego.metadata.chain(), "", [lib.principal_fact])
}
