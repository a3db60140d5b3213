# METADATA
# title: Release at the weekend
# description: Nobody is there who could take a release back.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: medium
#   owner: release-management
#   remedy: Release on a working day, or ask who is on call.
#   mappings: [owasp-llm-2025:LLM06]
package aisecops.rules.business.release_at_weekend

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	time.weekday(input.now.unix_seconds * 1000000000) in {"Saturday", "Sunday"}
	some joined in lib.steps
	joined.tool == "deploy/release"
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.tool_fact(joined)])
}
