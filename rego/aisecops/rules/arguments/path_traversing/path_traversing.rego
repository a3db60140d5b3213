# METADATA
# title: Path leaves its directory
# description: An argument climbs out of the directory that it starts in.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Name the file by a path without '..', inside what the tool serves.
#   mappings: [owasp-llm-2025:LLM05, owasp-agentic-2026:ASI02]
package aisecops.rules.arguments.path_traversing

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	climbing
	some text in lib.texts
	not text.role in {"content", "command", "query"}
	regex.match(pattern, text.value)
	finding := result.finding(rego.metadata.chain(), lib.steps[text.index].id, [lib.text_fact(text)])
}

# METADATA
# description: Whether any argument holds two dots, or a byte that could stand for one or end a name.
climbing if contains(lib.plan_text, "..")

climbing if regex.match(`[%\x00]`, lib.plan_text)

# METADATA
# description: Two dots as a path's part, plain, percent-encoded once or twice, or cut by a null byte.
pattern := `(?mi)(^|[/\\]|%(25)?2f|%(25)?5c)(\.|%(25)?2e){2}($|[/\\;]|%(25)?2f|%(25)?5c)|%00|\x00`
