# METADATA
# title: Tool not allowed on its server
# description: The server is allowed, this tool of it is not.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Use an allowed tool of the server, or add this one to its list in data/servers.yaml.
#   mappings: [owasp-llm-2025:LLM03, owasp-agentic-2026:ASI04]
package aisecops.rules.mcp.tool_not_allowed

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	some joined in lib.unserved
	server := data.tables.servers[joined.step.server]
	not server.tools[joined.step.name]
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.tool_fact(joined)])
}
