# METADATA
# title: Hidden characters
# description: An argument holds characters that people do not see or that reorder what they see.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: high
#   owner: platform-security
#   remedy: Remove the invisible characters, or ask for approval of exactly this plan.
#   mappings: [owasp-llm-2025:LLM01, owasp-agentic-2026:ASI01]
package aisecops.rules.arguments.characters_hidden

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	regex.match(`[^\x00-\x7F]`, lib.plan_text)
	regex.match(pattern, lib.plan_text)
	some text in lib.texts
	regex.match(pattern, text.value)
	finding := result.finding(rego.metadata.chain(), lib.steps[text.index].id, [lib.text_fact(text)])
}

# METADATA
# description: |
#   Zero-width and bidirectional controls, invisible operators, the byte order mark and the tag block; joiners
#   only beside ASCII, because scripts and emoji need them.
pattern := `[\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{2066}-\x{2069}\x{FEFF}\x{E0000}-\x{E007F}]|[\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]{2}|[!-~][\x{200C}\x{200D}]|[\x{200C}\x{200D}][!-~]`
