# METADATA
# title: Hidden characters in a text
# description: The text holds characters that people do not see, that reorder what they see, or that pass for others.
# scope: package
# schemas:
#   - input: schema.screen
# custom:
#   effect: warn
#   severity: high
#   owner: platform-security
#   remedy: Use the text without them.
#   mappings: [owasp-llm-2025:LLM01, owasp-agentic-2026:ASI01]
package aisecops.rules.screen.characters_hidden

import data.aisecops.screen

findings contains finding if {
	input.kind == "screen"
	some finding in screen.found(rego.metadata.chain(), "hidden")
}
