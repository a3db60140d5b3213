# METADATA
# title: Dependency on a later or unknown step
# description: A step depends on something that is not an earlier step of the plan.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: medium
#   owner: platform-security
#   remedy: List the steps in the order in which they run, and name only earlier ones in depends_on.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI02]
package aisecops.rules.plan.dependency_unknown

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.steps
	some position, needed in joined.step.depends_on
	not earlier(joined.index, needed)
	fact := lib.step_fact(joined, sprintf("/depends_on/%d", [position]), needed)
	finding := result.finding(rego.metadata.chain(), joined.id, [fact])
}

# METADATA
# description: Whether a step with that id stands before the index, or was decided earlier in the session.
earlier(index, id) if {
	some joined in lib.steps
	joined.id == id
	joined.index < index
}

earlier(_, id) if {
	some call in input.history
	call.observed == true
	call.step_id == id
}
