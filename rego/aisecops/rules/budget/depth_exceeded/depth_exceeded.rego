# METADATA
# title: Deeper than the budget
# description: "More agents stand above the caller than a budget lets: {depth}, and at most {limit} may."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: finance-controls
#   remedy: Call the agent more directly, or raise the depth of its profile, team, tenant or tool in data/budgets.yaml.
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.depth_exceeded

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	# The engine skips the rule by its index when nobody stands above the agent.
	_ = input.delegation[0]
	limit := lib.agent.depth
	count(input.delegation) > limit
	finding := result.told(rego.metadata.chain(), "", facts, words(limit))
}

findings contains finding if {
	_ = input.delegation[0]
	some joined in lib.steps
	limit := joined.entry.depth
	count(input.delegation) > limit
	finding := result.told(rego.metadata.chain(), joined.id, array.concat([lib.tool_fact(joined)], facts), words(limit))
}

# METADATA
# description: Who stands above the caller.
facts := [{"pointer": sprintf("/delegation/%d/agent_id", [index]), "value": above.agent_id} |
	some index, above in input.delegation
]

words(limit) := {"depth": format_int(count(input.delegation), 10), "limit": format_int(limit, 10)}
