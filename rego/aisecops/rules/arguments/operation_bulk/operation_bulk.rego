# METADATA
# title: Bulk operation
# description: One call changes or reaches more than the agent may at once.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: high
#   owner: secops
#   remedy: Name fewer items in one call, or ask for approval of exactly this plan.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI02]
package aisecops.rules.arguments.operation_bulk

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.changing
	some argument, value in joined.step.arguments
	joined.entry.arguments[argument] in {"destination", "object"}
	many(value)
	fact := lib.step_fact(joined, sprintf("/arguments/%s", [lib.pointer_token(argument)]), items(value))
	finding := result.finding(rego.metadata.chain(), joined.id, [fact])
}

# METADATA
# description: Whether a value names more items than the agent's budget gives one call, or all there are.
many(value) if {
	not is_string(value)
	items(value) > limit
}

many(value) if {
	is_string(value)
	regex.match(`[,;\n]`, value)
	items(value) > limit
}

many(value) if {
	is_string(value)
	regex.match(`(?i)^\s*(\*|%|@?(all|everyone|everybody)|@channel|@here)\s*$`, value)
}

# METADATA
# description: How many items the agent may name in one call; an unknown agent one.
limit := lib.agent.budget.items_per_step

default limit := 1

# METADATA
# description: How many items a value names; a list may also be written as text.
items(value) := count(value) if is_array(value)

items(value) := count(value) if is_object(value)

items(value) := count(regex.split(`[,;\n]+`, value)) if is_string(value)

default items(_) := 1
