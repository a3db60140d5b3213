# METADATA
# title: Tool outside its capability
# description: The capability that the plan names does not list the tool.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Name a capability that lists the tool, or none, and the grant that covers it is looked up.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI02]
package aisecops.rules.capability.tool_outside_capability

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.uncovered
	joined.step.capability != ""
	not data.tables.capabilities[joined.step.capability].tools[joined.tool]
	finding := result.finding(rego.metadata.chain(), joined.id, [
		lib.tool_fact(joined),
		lib.step_fact(joined, "/capability", joined.step.capability),
	])
}
