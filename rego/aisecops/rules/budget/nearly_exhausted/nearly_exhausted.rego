# METADATA
# title: Budget nearly used up
# description: "The budget {budget} comes close to its end: {used} are used, {reserved} reserved and {asked} asked of {limit}."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: low
#   owner: finance-controls
#   remedy: "Ask for approval of exactly this plan, or again when the budget begins anew ({reset})."
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.nearly_exhausted

import data.aisecops.lib.budget
import data.aisecops.result

findings contains finding if {
	budget.concerned
	some pressing in budget.pressed
	pressing.after > pressing.ask_above
	pressing.after <= pressing.charge.limit
	finding := result.told(rego.metadata.chain(), "", budget.facts(pressing), budget.words(pressing))
}
