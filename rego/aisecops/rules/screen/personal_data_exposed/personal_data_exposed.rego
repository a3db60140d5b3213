# METADATA
# title: Personal data in a text
# description: Data about a person stands in the text.
# scope: package
# schemas:
#   - input: schema.screen
# custom:
#   effect: warn
#   severity: medium
#   owner: platform-security
#   remedy: Use the text with the data replaced, or leave out what the task does not need.
#   mappings: [owasp-llm-2025:LLM02]
package aisecops.rules.screen.personal_data_exposed

import data.aisecops.screen

findings contains finding if {
	input.kind == "screen"
	some finding in screen.found(rego.metadata.chain(), "personal")
}
