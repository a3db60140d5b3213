# METADATA
# title: Outside the scope of the grant
# description: "The grant {grant} does not cover the call: {outside}."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: "Stay within the scope, or ask {granted_by} to widen it in data/agents.yaml."
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI02, owasp-agentic-2026:ASI03]
package aisecops.rules.capability.outside_scope

import data.aisecops.lib
import data.aisecops.lib.grants
import data.aisecops.result

findings contains finding if {
	some joined in lib.uncovered
	some held in grants.failing(joined.index)
	held.scopes
	outside := array.slice(grants.outside(held, joined.index), 0, most)
	count(outside) > 0
	finding := result.told(
		rego.metadata.chain(),
		joined.id,
		array.concat([lib.tool_fact(joined)], [fact(joined, part) | some part in outside]),
		{
			"grant": held.id,
			"granted_by": held.granted_by,
			"outside": concat("; ", {said(part) | some part in outside}),
		},
	)
}

# METADATA
# description: As many parts as somebody reads; one is enough to refuse.
most := 8

# METADATA
# description: The value that is outside, where it stands.
fact(joined, part) := lib.step_fact(joined, pointer(part), part.value)

pointer(part) := concat("/", array.concat(["/arguments"], [lib.pointer_token(token) | some token in part.path]))

# METADATA
# description: What is outside of what, in words of the policy. The value itself is told as a fact.
said(part) := sprintf("%s must be within %s", [name(part), part.says])

name(part) := "the tool" if count(part.path) == 0

name(part) := lib.pointer_token(part.path[0]) if count(part.path) > 0
