# METADATA
# title: Changes used up
# description: The session would make more changes than the agent's budget gives it.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: medium
#   owner: finance-controls
#   remedy: Propose fewer changing steps, or raise session_changes of the agent's profile in data/budgets.yaml.
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.changes_exhausted

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	count(lib.changing) > 0
	count(past) + count(lib.changing) > lib.agent.budget.session_changes
	finding := result.finding(rego.metadata.chain(), "", [lib.tool_fact(joined) | some joined in lib.changing])
}

# METADATA
# description: The effects of past calls that did anything but read.
past := [entry.effect |
	some entry in lib.past_entries
	entry.effect != "read"
]
