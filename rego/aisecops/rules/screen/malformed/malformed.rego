# METADATA
# title: Malformed text document
# description: The document about a text does not have the shape that rules rely on.
# scope: package
# schemas:
#   - input: schema.screen
# custom:
#   effect: deny
#   severity: critical
#   owner: platform-security
#   remedy: Send a text that follows the contract; nothing was allowed.
#   mappings: [owasp-agentic-2026:ASI08]
package aisecops.rules.screen.malformed

import data.aisecops.result
import data.aisecops.screen

findings contains finding if {
	input.kind == "screen"
	not screen.valid
	finding := result.finding(rego.metadata.chain(), "", [])
}
