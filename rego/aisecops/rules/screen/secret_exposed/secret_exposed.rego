# METADATA
# title: Secret in a text
# description: A key, token, password or private key stands in the text.
# scope: package
# schemas:
#   - input: schema.screen
# custom:
#   effect: warn
#   severity: critical
#   owner: platform-security
#   remedy: Use the text with the secret replaced, and revoke the secret; pass references to secrets instead.
#   mappings: [owasp-llm-2025:LLM02, owasp-agentic-2026:ASI03]
package aisecops.rules.screen.secret_exposed

import data.aisecops.screen

findings contains finding if {
	input.kind == "screen"
	some finding in screen.found(rego.metadata.chain(), "secret")
}
