# METADATA
# title: Grant expired
# description: "The grant {grant} covers no calls any more: it ended at {ended}."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: "Ask {granted_by} to grant it anew in data/agents.yaml."
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.capability.grant_expired

import data.aisecops.lib
import data.aisecops.lib.grants
import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index where nothing narrows a grant.
	data.tables.has.narrowed_grants == true
	some joined in lib.uncovered
	some held in grants.failing(joined.index)
	not grants.in_time(held)
	finding := result.told(
		rego.metadata.chain(),
		joined.id,
		[lib.tool_fact(joined), {"pointer": "/now/unix_seconds", "value": input.now.unix_seconds}],
		{
			"grant": held.id,
			"granted_by": held.granted_by,
			"ended": time.format([held.expires_at_seconds * 1000000000, "UTC", "RFC3339"]),
		},
	)
}
