# METADATA
# title: Tool requires approval
# description: People must agree to every call of this tool.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: medium
#   owner: secops
#   remedy: Ask for approval of exactly this plan.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI09]
package aisecops.rules.approval.tool_requires_approval

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.steps
	joined.entry.approval.always
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.tool_fact(joined)])
}
