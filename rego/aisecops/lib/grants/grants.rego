# METADATA
# title: Grants
# description: |
#   Which grants cover a call: that of the capability which the plan names, or of any that lists the tool. A grant may
#   end at a date, hold in some environments only, and be scoped to some arguments. Everything here is asked by an
#   agent's id, so that it can be asked of any agent: the one that calls, and those above it.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.lib.grants

import data.aisecops.lib.scopes

# METADATA
# description: |
#   The grant by which an agent may make the call at an index of the plan's steps: the first one (by name) that nothing
#   narrows, else the first one that covers it. An empty capability means that none does.
covering(agent, index) := {
	"capability": free[0][0],
	"granted_by": free[0][1].granted_by,
	"id": concat("#", [agent, free[0][0]]),
} if {
	step := input.plan.steps[index]
	step.capability == ""
	free := [[capability, held] |
		some capability, _ in data.tables.tools[step.tool].capabilities
		held := data.tables.agents[agent].capabilities[capability]
		not held.narrowed
	]
} else := {
	"capability": able[0][0],
	"granted_by": able[0][1].granted_by,
	"id": concat("#", [agent, able[0][0]]),
} if {
	able := [[capability, data.tables.agents[agent].capabilities[capability]] |
		some capability in possible(index)
		lists(capability, index)
		covers(agent, capability, index)
	]
}

default covering(_, _) := {"capability": "", "granted_by": "", "id": ""}

# METADATA
# description: Whether a capability lists the tool of a call.
lists(capability, index) if data.tables.capabilities[capability].tools[input.plan.steps[index].tool]

# METADATA
# description: Whether an agent holds a capability, and the grant of it covers the call.
covers(agent, capability, _) if {
	held := data.tables.agents[agent].capabilities[capability]
	not held.narrowed
}

covers(agent, capability, index) if {
	data.tables.agents[agent].capabilities[capability].narrowed
	held := data.tables.grants[agent][capability]
	in_time(held)
	in_place(held)
	in_scope(held, index)
}

# METADATA
# description: The capabilities that an agent holds, of those by which the call could be made.
held(agent, index) := [capability |
	some capability in possible(index)
	data.tables.agents[agent].capabilities[capability]
]

# METADATA
# description: The grants that the calling agent holds, by which the call could be made and which do not cover it.
failing(index) := [grant |
	some capability in held(input.principal.id, index)
	lists(capability, index)
	grant := data.tables.grants[input.principal.id][capability]
]

# METADATA
# description: The capabilities by which the call could be made, which is one if the plan names one.
possible(index) := [capability] if {
	capability := input.plan.steps[index].capability
	capability != ""
}

possible(index) := [capability | some capability, _ in data.tables.tools[step.tool].capabilities] if {
	step := input.plan.steps[index]
	step.capability == ""
}

# METADATA
# description: Whether a grant has not ended.
in_time(held) if not held.expires_at_seconds

in_time(held) if input.now.unix_seconds < held.expires_at_seconds

# METADATA
# description: Whether a grant holds in the plan's environment.
in_place(held) if not held.environments

in_place(held) if held.environments[input.environment]

# METADATA
# description: Whether the arguments of a call lie within a grant's scopes.
in_scope(held, _) if not held.scopes

in_scope(held, index) if {
	held.scopes
	count(outside(held, index)) == 0
}

# METADATA
# description: |
#   What of a call lies outside a grant's scopes. A scoped grant covers only tools of which its scopes say something,
#   and only arguments that the catalogue describes: another could say the same in other words.
outside(held, index) := array.concat(
	[{"path": [argument], "says": "what data/tools.yaml describes", "value": scopes.shown(value)} |
		count(held.scopes[step.tool]) > 0
		some argument, value in step.arguments
		not data.tables.tools[step.tool].arguments[argument]
	],
	scopes.outside(object.get(held.scopes, step.tool, unsaid), step.arguments),
) if {
	step := input.plan.steps[index]
}

# METADATA
# description: What lies outside of a scoped grant that says nothing of a tool, which is every call of it.
unsaid := [{"places": [], "required": true, "says": "the tools that its scopes limit", "is": {}}]
