# METADATA
# title: Use unknown
# description: "The {subject} {id} has a limit on {metric} ({window}), and nobody looked up what was used of it."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: finance-controls
#   remedy: "Ask again; what keeps being unknown is for whoever runs the control plane."
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.usage_unknown

import data.aisecops.lib
import data.aisecops.lib.budget
import data.aisecops.result

findings contains finding if {
	budget.concerned
	some limit in budget.unknown
	finding := result.told(rego.metadata.chain(), "", [lib.principal_fact], {
		"window": limit.window,
		"metric": limit.metric,
		"subject": limit.subject,
		"id": limit.id,
	})
}
