# METADATA
# title: Refund without an order
# description: A refund names the order that it pays back, so that finance can match it.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: medium
#   owner: finance-controls
#   remedy: Give the order's number as `order_id`.
#   mappings: [owasp-llm-2025:LLM06]
package aisecops.rules.business.refund_without_order

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.steps
	joined.tool == "crm/issue_refund"
	not joined.step.arguments.order_id
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.tool_fact(joined)])
}
