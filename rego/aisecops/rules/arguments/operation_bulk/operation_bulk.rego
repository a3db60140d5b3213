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
import data.aisecops.lib.provenance
import data.aisecops.result

findings contains finding if {
	some joined in lib.changing
	some argument, value in joined.step.arguments
	provenance.role_of(joined, argument) in {"destination", "object"}
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
	regex.match(`[,;\n]|@.*@`, value)
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
# description: How many items a value names, however deep; a list may also be written as text, and a name as a key.
items(value) := sum([named(leaf) | walk(value, [_, leaf]); not is_array(leaf)]) if not is_string(value)

items(value) := named(value) if is_string(value)

# METADATA
# description: How many items one part of a value names.
named(part) := max([count(regex.split(`[,;\n]+`, part)), count(regex.find_n("@", part, -1))]) if is_string(part)

named(part) := count([key | some key, value in part; is_boolean(value)]) if is_object(part)

default named(_) := 1
