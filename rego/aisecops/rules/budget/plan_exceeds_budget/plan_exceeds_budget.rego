# METADATA
# title: Plan longer than the budget
# description: The plan needs more calls than the session has left.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: medium
#   owner: finance-controls
#   remedy: Propose fewer steps, or raise session_calls of the agent's profile in data/budgets.yaml.
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.plan_exceeds_budget

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	limit := lib.agent.budget.session_calls
	lib.calls_used < limit
	lib.calls_used + count(lib.steps) > limit
	finding := result.finding(rego.metadata.chain(), "", [lib.usage_fact])
}
