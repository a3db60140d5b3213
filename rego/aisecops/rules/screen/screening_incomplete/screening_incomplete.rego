# METADATA
# title: Text not screened to its end
# description: There is more to tell of the text than can be told, so the rest of it is unknown.
# scope: package
# schemas:
#   - input: schema.screen
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Send the text in smaller parts.
#   mappings: [owasp-llm-2025:LLM10]
package aisecops.rules.screen.screening_incomplete

import data.aisecops.result
import data.aisecops.screen

findings contains finding if {
	input.kind == "screen"
	some part in screen.parts
	not part.complete
	finding := result.finding(rego.metadata.chain(), part.id, [{
		"pointer": sprintf("/parts/%d/complete", [part.index]),
		"value": false,
	}])
}
