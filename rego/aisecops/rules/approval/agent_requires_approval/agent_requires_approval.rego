# METADATA
# title: Agent requires approval
# description: People must agree whenever this agent, or one on whose behalf it acts, uses this capability.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: medium
#   owner: secops
#   remedy: Ask for approval of exactly this plan.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI03]
package aisecops.rules.approval.agent_requires_approval

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	needing := lib.agent.approval
	some joined in lib.steps
	needing[joined.grant.capability]
	finding := said(rego.metadata.chain(), joined, {"pointer": "/principal/id", "value": input.principal.id})
}

findings contains finding if {
	some index, above in input.delegation
	needing := data.tables.agents[above.agent_id].approval
	some joined in lib.steps
	needing[joined.grant.capability]
	who := {"pointer": sprintf("/delegation/%d/agent_id", [index]), "value": above.agent_id}
	finding := said(rego.metadata.chain(), joined, who)
}

said(chain, joined, who) := result.finding(chain, joined.id, [who, lib.tool_fact(joined)])
