# METADATA
# title: Grant does not apply
# description: "The grant {grant} does not apply: {why}."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: "Act where and while the grant applies, or ask {granted_by} to renew or extend it in data/agents.yaml."
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.capability.grant_inapplicable

import data.aisecops.lib
import data.aisecops.lib.grants
import data.aisecops.result

findings contains finding if {
	some joined in lib.uncovered
	some held in grants.failing(joined.index)
	some reason in reasons(held)
	finding := result.told(
		rego.metadata.chain(),
		joined.id,
		[lib.tool_fact(joined), reason.fact],
		{"grant": held.id, "granted_by": held.granted_by, "why": reason.why},
	)
}

# METADATA
# description: Why a grant does not apply, whatever the call.
reasons(held) := array.concat(
	[{"why": sprintf("it ended at %s", [ended]), "fact": fact} |
		not grants.in_time(held)
		ended := time.format([held.expires_at_seconds * 1000000000, "UTC", "RFC3339"])
		fact := {"pointer": "/now/unix_seconds", "value": input.now.unix_seconds}
	],
	[{"why": sprintf("it is for %s", [concat(", ", object.keys(held.environments))]), "fact": fact} |
		not grants.in_place(held)
		fact := {"pointer": "/environment", "value": input.environment}
	],
)
