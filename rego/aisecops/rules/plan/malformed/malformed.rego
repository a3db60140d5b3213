# METADATA
# title: Malformed document
# description: The document lacks a part that every decision needs, or a part has the wrong type.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: critical
#   owner: platform-security
#   remedy: Send a plan that follows the contract; the facts name the parts.
#   mappings: [owasp-llm-2025:LLM06, owasp-agentic-2026:ASI02]
package aisecops.rules.plan.malformed

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	not lib.valid
	finding := result.finding(rego.metadata.chain(), "", problems)
}

# METADATA
# description: What every document must have, and its type.
parts := [
	[["schema_version"], "number"],
	[["mode"], "string"],
	[["environment"], "string"],
	[["principal", "id"], "string"],
	[["now", "unix_seconds"], "number"],
	[["usage", "session_calls"], "number"],
	[["plan", "hash"], "string"],
	[["sources"], "array"],
	[["history"], "array"],
	[["delegation"], "array"],
	[["approvals"], "array"],
	[["request"], "object"],
	[["grounding"], "object"],
	[["plan", "steps"], "array"],
]

# METADATA
# description: Everything that is wrong, as facts whose value is the type that was found.
problems := [fact |
	some found in [wrong_parts, wrong_steps, wrong_values]
	some fact in found
]

wrong_parts := [fact |
	some part in parts
	kind := type_at(part[0])
	kind != part[1]
	fact := {"pointer": concat("", ["/", concat("/", part[0])]), "value": kind}
]

wrong_steps := [fact |
	some index, step in input.plan.steps
	not lib.step_valid(step)
	fact := {"pointer": sprintf("/plan/steps/%v", [index]), "value": type_name(step)}
]

wrong_values contains {"pointer": "/schema_version", "value": input.schema_version} if input.schema_version != 1

wrong_values contains {"pointer": "/plan/steps", "value": "empty"} if input.plan.steps == []

# METADATA
# description: The type of a part of the document; `missing` when it is not there.
type_at(path) := type_name(present[0]) if {
	is_object(input)
	present := [value | value := object.get(input, path, null); value != null]
	count(present) == 1
}

default type_at(_) := "missing"
