# METADATA
# title: Joined facts
# description: |
#   Reads the document and the tables once, so that rules do not: each step joined with its tool's entry and its
#   grant, the text of its arguments, the trust of its sources. Everything here is a complete rule or a function
#   of one key, so the engine computes it once a decision and its cost does not grow with the tables. Never pass
#   a whole table to a function, or put an entry into a list or an object: that copies it. A local name for it is free.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.lib

import data.aisecops.lib.grants

# METADATA
# description: |
#   Whether the document has the shape that rules rely on. Nothing is allowed without it. A part that could not
#   be joined is missing from `steps`, `source_ranks` or `past_entries`, which the counts show. What lies deeper
#   (the values of steps) must be read so that an unreadable part counts as the worst.
default valid := false

valid if {
	input.schema_version == 1
	is_string(input.mode)
	is_string(input.environment)
	is_string(input.principal.id)
	is_number(input.now.unix_seconds)
	is_number(input.usage.session_calls)
	is_string(input.plan.hash)
	is_array(input.sources)
	is_array(input.history)
	is_array(input.delegation)
	is_array(input.approvals)
	is_object(input.request)
	is_object(input.grounding)
	is_array(input.plan.steps)
	count(steps) > 0
	count(steps) == count(input.plan.steps)
	count(source_ranks) == count(input.sources)
	count(past_entries) == count(input.history)
}

# METADATA
# description: Whether one step has the shape that rules rely on.
step_valid(step) if {
	is_string(step.id)
	is_string(step.tool)
	is_string(step.server)
	is_string(step.name)
	is_string(step.capability)
	is_object(step.arguments)
	is_array(step.depends_on)
	is_array(step.influenced_by)
	is_array(step.values)
}

# METADATA
# description: What the tables say of the agent that asks; undefined for an unknown agent.
agent := data.tables.agents[input.principal.id]

# METADATA
# description: What policy makes of its findings about the agent; everything is enforced on an unknown one.
mode := agent.mode

default mode := "enforce"

# METADATA
# description: |
#   Whether what a rule finds is only observed: as the modes table says of the rule, else of its category, else of the
#   agent. To observe somebody, policy must know who it is and what is asked, and an edge must have the policy that counts.
observes(rule) if {
	not rule in {"plan.malformed", "identity.agent_unregistered"}
	not startswith(rule, "edge.")
	mode_of(rule) == "observe"
	agent
}

# METADATA
# description: The mode of a rule, which is its own, else its category's, else the agent's.
mode_of(rule) := data.tables.modes.rules[rule]

mode_of(rule) := mode_of_category(split(rule, ".")[0]) if not data.tables.modes.rules[rule]

# METADATA
# description: The mode of a category of rules, else the agent's.
mode_of_category(category) := data.tables.modes.rules[category]

mode_of_category(category) := mode if not data.tables.modes.rules[category]

# METADATA
# description: |
#   What the tables say of a tool. A tool that is not in the catalogue is taken for the worst one: it executes
#   anything, anywhere, nowhere allowed, and nothing that it returns is to be believed.
tool(name) := data.tables.tools[name]

default tool(_) := {
	"effect": "execute",
	"reach": "external",
	"result_trust": "unverified",
	"result_records": "none",
	"asked_by": {},
	"concerns": {},
	"arguments": {},
	"capabilities": {},
	"allowed_hosts": {},
	"allowed_schemes": {},
	"obligations": [],
	"allowed_in": {},
	"uncatalogued": true,
}

# METADATA
# description: |
#   The well-formed steps in plan order, each joined with its tool's entry and the grant that covers it.
steps := [joined |
	some index, step in input.plan.steps
	is_string(step.id)
	is_string(step.tool)
	is_string(step.server)
	is_string(step.name)
	is_string(step.capability)
	is_object(step.arguments)
	is_array(step.depends_on)
	is_array(step.influenced_by)
	is_array(step.values)
	joined := {
		"index": index,
		"id": step.id,
		"tool": step.tool,
		"step": step,
		"entry": tool(step.tool),
		"grant": grants.covering(input.principal.id, index),
	}
]

# METADATA
# description: The steps that no grant covers.
uncovered := [joined |
	some joined in steps
	joined.grant.capability == ""
]

# METADATA
# description: The steps whose tool may not be called on its server in this environment, for whatever reason.
unserved := [joined |
	some joined in steps
	not joined.entry.allowed_in[input.environment]
]

# METADATA
# description: The steps that do anything but read.
changing := [joined |
	some joined in steps
	joined.entry.effect != "read"
]

# METADATA
# description: |
#   What each past call did and where, as the tables say of its tool. No more of an entry is taken, because the engine
#   reads whatever stands in a list whole.
past_entries := [{"effect": entry.effect, "reach": entry.reach} |
	some call in input.history
	entry := tool(call.tool)
]

# METADATA
# description: |
#   How many calls the session has made: as the control plane counted, or as the history says if that is more.
calls_used := max([input.usage.session_calls, count(input.history)])

# METADATA
# description: The fact that rules about a session's calls give.
usage_fact := {"pointer": "/usage/session_calls", "value": calls_used}

# METADATA
# description: The pointer to a step, or to a part of it.
step_pointer(joined, rest) := concat("", [sprintf("/plan/steps/%d", [joined.index]), rest])

# METADATA
# description: A fact about a step, `rest` being the pointer inside the step.
step_fact(joined, rest, value) := {"pointer": step_pointer(joined, rest), "value": value}

# METADATA
# description: The fact that most rules about a tool give.
tool_fact(joined) := step_fact(joined, "/tool", joined.tool)

# METADATA
# description: The fact that rules about the agent give.
principal_fact := {"pointer": "/principal/id", "value": input.principal.id}

# METADATA
# description: |
#   Every string among the arguments of every step, keys included: the index of the step, the path inside the arguments, the
#   role that the catalogue gives the top-level argument (empty: none), and the string.
texts := array.concat(
	[{"index": joined.index, "path": [argument], "role": role, "value": value} |
		some joined in steps
		some argument, value in joined.step.arguments
		is_string(value)
		role := object.get(joined.entry.arguments, argument, "")
	],
	[{"index": joined.index, "path": array.concat([argument], path), "role": role, "value": text} |
		some joined in steps
		some argument, value in joined.step.arguments
		not is_string(value)
		walk(value, [path, leaf])
		some text in readable(leaf)
		role := object.get(joined.entry.arguments, argument, "")
	],
)

# METADATA
# description: The strings of one part of an argument, which are itself or, of an object, its keys.
readable(part) := [part] if is_string(part)

readable(part) := object.keys(part) if is_object(part)

default readable(_) := []

# METADATA
# description: |
#   All strings of all arguments in one. Rules match their pattern here first: most plans stop at this one
#   match. A pattern that looks at line ends needs the (?m) flag here.
plan_text := concat("\n", [text.value | some text in texts])

# METADATA
# description: The fact that a string of an argument is what it is, cut to what a person reads.
text_fact(text) := {"pointer": text_pointer(text), "value": substring(text.value, 0, 256)}

# METADATA
# description: Where a string of an argument stands in the document.
text_pointer(text) := sprintf(
	"/plan/steps/%d/arguments/%s",
	[text.index, concat("/", [pointer_token(token) | some token in text.path])],
)

# METADATA
# description: One token of an RFC 6901 pointer.
pointer_token(token) := replace(replace(token, "~", "~0"), "/", "~1") if is_string(token)

pointer_token(token) := format_int(token, 10) if is_number(token)

# METADATA
# description: Trust levels, most trusted first; a level's rank is its index.
levels := ["trusted", "internal", "external", "unverified"]

# METADATA
# description: The rank of each trust level. A caller's empty label lowers nothing.
ranks := {"": 0, "trusted": 0, "internal": 1, "external": 2, "unverified": 3}

# METADATA
# description: |
#   How far each source is trusted, as a rank: by its kind or, for a tool's result, by the tool, and then
#   lowered (never raised) by the caller's own label. An unreadable source is unverified.
source_ranks := {source.id: rank |
	some source in input.sources
	is_string(source.id)
	rank := settled_rank(source.kind, source.tool, source.declared_trust)
}

# METADATA
# description: The rank of a source of some kind (and tool) that the caller gave some label.
settled_rank("tool_result", name, declared) := max([ranks[tool(name).result_trust], ranks[declared]])

settled_rank(kind, _, declared) := max([ranks[data.tables.trust[kind]], ranks[declared]])

default settled_rank(_, _, _) := 3

# METADATA
# description: The rank of a source by its id; a source that the document does not have is unverified.
rank_of(id) := source_ranks[id]

default rank_of(_) := 3

# METADATA
# description: The rank of the least trusted source of the plan.
lowest_rank := max([rank | some rank in source_ranks])

default lowest_rank := 3
