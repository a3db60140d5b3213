# METADATA
# title: Budget frozen
# description: "The budget {budget} is frozen, because more was used than was asked for or a person froze it."
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: finance-controls
#   remedy: "Find out what was used ({used} of {limit}), and have somebody unfreeze it with 'aisecops budget adjust'."
#   mappings: [owasp-llm-2025:LLM10, owasp-agentic-2026:ASI08]
package aisecops.rules.budget.frozen

import data.aisecops.lib.budget
import data.aisecops.result

findings contains finding if {
	budget.concerned
	some pressing in budget.pressed
	pressing.counter.frozen
	finding := result.told(rego.metadata.chain(), "", budget.facts(pressing), budget.words(pressing))
}
