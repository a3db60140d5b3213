# METADATA
# title: Budget used up
# description: "The budget {budget} has no room: {used} are used, {reserved} reserved and {asked} asked of {limit}."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: medium
#   owner: finance-controls
#   remedy: "Ask for less, or again when the budget begins anew ({reset}), or raise the limit in data/budgets.yaml."
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.exhausted

import data.aisecops.lib.budget
import data.aisecops.result

findings contains finding if {
	budget.concerned
	some pressing in budget.pressed
	pressing.after > pressing.charge.limit
	finding := result.told(rego.metadata.chain(), "", budget.facts(pressing), budget.words(pressing))
}
