# METADATA
# title: Grant for another environment
# description: "The grant {grant} does not hold in this environment; it holds in {environments}."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: "Run the plan where the grant holds, or ask {granted_by} to extend it in data/agents.yaml."
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.capability.grant_elsewhere

import data.aisecops.lib
import data.aisecops.lib.grants
import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index where nothing narrows a grant.
	data.tables.has.narrowed_grants == true
	some joined in lib.uncovered
	some held in grants.failing(joined.index)
	not grants.in_place(held)
	finding := result.told(
		rego.metadata.chain(),
		joined.id,
		[lib.tool_fact(joined), {"pointer": "/environment", "value": input.environment}],
		{
			"grant": held.id,
			"granted_by": held.granted_by,
			"environments": concat(", ", object.keys(held.environments)),
		},
	)
}
