# METADATA
# title: Server not allowed
# description: The tool's server is not allowed in this environment.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Use an allowed server, or have this one described in data/servers.yaml.
#   mappings: [owasp-llm-2025:LLM03, owasp-agentic-2026:ASI04]
package aisecops.rules.mcp.server_not_allowed

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.unserved
	not data.tables.servers[joined.step.server].environments[input.environment]
	finding := result.finding(rego.metadata.chain(), joined.id, [
		lib.step_fact(joined, "/server", joined.step.server),
		{"pointer": "/environment", "value": input.environment},
	])
}
