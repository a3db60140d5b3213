# METADATA
# title: Calls used up
# description: The session has used all the calls that the agent's budget gives it.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: medium
#   owner: finance-controls
#   remedy: Start a new session, or raise session_calls of the agent's profile in data/budgets.yaml.
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.calls_exhausted

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	lib.calls_used >= lib.agent.budget.session_calls
	finding := result.finding(rego.metadata.chain(), "", [lib.usage_fact])
}
