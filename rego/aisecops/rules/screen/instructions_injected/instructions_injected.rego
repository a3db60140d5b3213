# METADATA
# title: Instructions injected
# description: The text tries to steer the model; it overrides instructions, poses as somebody, or asks for what it must not.
# scope: package
# schemas:
#   - input: schema.screen
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Remove the marked places. If the text only talks about such instructions, say so around them, or ask for a review.
#   mappings: [owasp-llm-2025:LLM01, owasp-llm-2025:LLM07, owasp-agentic-2026:ASI01]
package aisecops.rules.screen.instructions_injected

import data.aisecops.screen

findings contains finding if {
	input.kind == "screen"
	some finding in screen.found(rego.metadata.chain(), "injection")
}
