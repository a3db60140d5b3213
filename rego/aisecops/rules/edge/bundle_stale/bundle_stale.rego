# METADATA
# title: Stale policy
# description: |
#   The centre confirmed the policy of this edge {age} seconds ago, and it counts for {limit} seconds.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: "Let the edge reach its centre and ask again; 'aisecops edge status' on the edge says why it does not."
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI08]
package aisecops.rules.edge.bundle_stale

import data.aisecops.result

findings contains finding if {
	age := input.edge.bundle.age_seconds
	limit := min(limits)
	age > limit
	finding := result.told(
		rego.metadata.chain(), "",
		[{"pointer": "/edge/bundle/age_seconds", "value": age}],
		{"age": format_int(age, 10), "limit": format_int(limit, 10)},
	)
}

# METADATA
# description: How long the centre's word counts, by its signature and by the table; the shorter one holds.
limits contains input.edge.bundle.lifetime_seconds

limits contains data.tables.edges[input.edge.id].max_age_seconds
