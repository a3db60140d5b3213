# METADATA
# title: Use unknown
# description: "A {window} limit on the {metric} of the {subject} {id} concerns the plan, and nobody looked up what was used."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: finance-controls
#   remedy: "Give the plan a session_id if the limit is on a session; else have the control plane's state checked."
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.usage_unknown

import data.aisecops.lib
import data.aisecops.lib.budget
import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index where the tables limit nothing.
	data.tables.has.limits == true
	some limit in budget.unknown
	finding := result.told(rego.metadata.chain(), "", [lib.principal_fact], {
		"window": limit.window,
		"metric": limit.metric,
		"subject": limit.subject,
		"id": limit.id,
	})
}
