# METADATA
# title: Amount over the limit
# description: The amount is above what the agent may move without people, or is no amount at all.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: high
#   owner: secops
#   remedy: Ask for approval of exactly this plan, or stay below the limit in data/approvals.yaml.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI02]
package aisecops.rules.approval.amount_over_limit

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.steps
	approval := joined.entry.approval
	approval.amount_argument != ""
	amount := object.get(joined.step.arguments, approval.amount_argument, null)
	not within(amount, approval.amount_over)
	fact := lib.step_fact(joined, sprintf("/arguments/%s", [lib.pointer_token(approval.amount_argument)]), amount)
	finding := result.finding(rego.metadata.chain(), joined.id, [fact])
}

# METADATA
# description: Whether an amount is a number that needs nobody. What is no number, or negative, is not within.
within(amount, limit) if {
	is_number(amount)
	amount >= 0
	amount <= limit
}
