# METADATA
# title: Capability not granted
# description: "The agent holds no grant that could cover the call: it takes {capabilities}."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Leave the step out, or ask the owner of the capability for a grant in data/agents.yaml.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.capability.capability_not_granted

import data.aisecops.lib
import data.aisecops.lib.grants
import data.aisecops.result

findings contains finding if {
	some joined in lib.uncovered
	count(grants.held(input.principal.id, joined.index)) == 0
	finding := result.told(
		rego.metadata.chain(),
		joined.id,
		[lib.principal_fact, lib.tool_fact(joined), lib.step_fact(joined, "/capability", joined.step.capability)],
		{"capabilities": said(joined)},
	)
}

# METADATA
# description: The capabilities that list the tool, of which there may be none.
said(joined) := concat(" or ", object.keys(joined.entry.capabilities)) if count(joined.entry.capabilities) > 0

said(joined) := "a capability that lists the tool, and there is none" if count(joined.entry.capabilities) == 0
