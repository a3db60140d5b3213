# METADATA
# title: Capability not granted
# description: The agent holds no grant that covers the call.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Leave the step out, or ask the capability's owner for a grant in data/agents.yaml.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.capability.capability_not_granted

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.uncovered
	not lib.agent.capabilities[joined.step.capability]
	finding := result.finding(rego.metadata.chain(), joined.id, [
		lib.principal_fact,
		lib.tool_fact(joined),
		lib.step_fact(joined, "/capability", joined.step.capability),
	])
}
