# METADATA
# title: Undeclared tool
# description: The tool is not in the catalogue, so nobody has said what it does.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Use a tool of the catalogue, or have this one described in data/tools.yaml.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI02, owasp-agentic-2026:ASI04]
package aisecops.rules.capability.tool_undeclared

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.steps
	joined.entry.uncatalogued
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.tool_fact(joined)])
}
