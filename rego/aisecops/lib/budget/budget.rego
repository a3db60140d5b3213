# METADATA
# title: Budgets
# description: |
#   What the plan would take from each limit that concerns it, and what is used of them. Limits and costs are the
#   tables', so a replay judges with those of its revision; what was used is the control plane's own count. Where no
#   limit concerns a plan, nothing here is computed.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.lib.budget

import data.aisecops.lib

# METADATA
# description: What the control plane looked up.
subjects := object.get(input.usage, "subjects", {})

counters := object.get(input.usage, "counters", {})

counted := object.get(input.usage, "counters", null)

# METADATA
# description: What models took since the last plan, as the runtime reports it. It can only add.
reported := object.get(input.usage, "reported", {})

# METADATA
# description: Whether any limit concerns the plan. Where none does, this is all that is computed.
default concerned := false

concerned if lib.agent.limited

concerned if {
	some joined in lib.steps
	joined.entry.limited
}

# METADATA
# description: |
#   The limits that concern the plan, of which is known what was used and from which it takes something: those of the
#   agent and those that it shares, those of its session (of which the control plane has its own name), and those of the
#   tools that it calls.
limits := whole_limits if percent == 100

limits := [leased(limit) | some limit in whole_limits] if percent < 100

# METADATA
# description: |
#   The share of each limit that may be used here: where edges decide with a ledger of their own, each has the share that
#   is leased to it, and the centre has what is left.
default percent := 0

percent := data.tables.edges[input.edge.id].budget_percent if input.edge

percent := data.tables.lease.centre_percent if not input.edge

# METADATA
# description: The part of a limit that may be used here.
leased(limit) := object.union(limit, {
	"ask_above": floor((limit.ask_above * percent) / 100),
	"charge": {"limit": floor((limit.charge.limit * percent) / 100)},
})

# METADATA
# description: Those limits as the tables have them.
whole_limits := array.concat(
	[limit |
		some limit in data.tables.limits.agents[input.principal.id].lasting
		subjects[limit.charge.subject] == limit.charge.id
		share(limit.metric)
	],
	array.concat(
		[of_session(limit, subjects.session) |
			some limit in data.tables.limits.agents[input.principal.id].session
			subjects.session != ""
			share(limit.metric)
		],
		[limit |
			is_object(counted)
			some joined in lib.steps
			some limit in data.tables.limits.tools[joined.tool]
			first[joined.tool] == joined.index
			share_of_tool(limit.metric, joined.tool)
		],
	),
)

# METADATA
# description: A limit of one session.
of_session(limit, session) := object.union(limit, {
	"key": concat("", ["session:", session, "/", limit.metric, "/session"]),
	"charge": {"id": session},
})

# METADATA
# description: The charges of the plan, one for each limit.
default charges := []

charges := [object.union(limit.charge, share_of(limit)) | some limit in limits] if concerned

# METADATA
# description: What the plan takes from a limit.
share_of(limit) := share(limit.metric) if limit.charge.subject != "tool"

share_of(limit) := share_of_tool(limit.metric, limit.charge.id) if limit.charge.subject == "tool"

# METADATA
# description: The limits that the plan presses against, because it would step over the threshold or they are frozen.
pressed := [pressing |
	some index, limit in limits
	charge := charges[index]
	counter := object.get(counters, limit.key, unused)
	after := (counter.used + counter.reserved) + charge.amount
	far := after > limit.ask_above
	true in [far, counter.frozen]
	pressing := {
		"key": limit.key,
		"counter": counter,
		"after": after,
		"ask_above": limit.ask_above,
		"charge": charge,
	}
]

unused := {"used": 0, "reserved": 0, "overrun": 0, "frozen": false, "resets_at_seconds": 0}

# METADATA
# description: The limits of which nobody looked up what was used.
unknown := array.concat(
	[limit.charge |
		some limit in data.tables.limits.agents[input.principal.id].lasting
		not subjects[limit.charge.subject] == limit.charge.id
	],
	array.concat(
		[limit.charge |
			some limit in data.tables.limits.agents[input.principal.id].session
			object.get(subjects, "session", "") == ""
		],
		[limit.charge |
			not is_object(counted)
			some joined in lib.steps
			some limit in data.tables.limits.tools[joined.tool]
		],
	),
)

# METADATA
# description: The index of the first step of each tool.
first := {tool: min([other.index | some other in lib.steps; other.tool == tool]) |
	some joined in lib.steps
	tool := joined.tool
}

# METADATA
# description: |
#   What the plan takes of a metric: what models took before it, and what each of its steps is expected to take. Of
#   writes nothing is told where the plan makes none; what calls take of the others is only known when they are over.
share("calls") := parts(0, {joined.id: 1 | some joined in lib.steps})

share("writes") := parts(0, {joined.id: 1 | some joined in lib.changing}) if count(lib.changing) > 0

share("tokens") := parts(model_tokens, {})

share("micro_usd") := parts(model_micro_usd, {joined.id: tool_cost(joined.tool).micro_usd | some joined in lib.steps})

share("wall_milliseconds") := parts(0, {joined.id: tool_cost(joined.tool).wall_milliseconds | some joined in lib.steps})

parts(spent, steps) := {
	"amount": spent + sum([amount | some amount in steps]),
	"spent": spent,
	"steps": steps,
	"enforced": enforced,
}

# METADATA
# description: What the steps of one tool take. Tools do not share in what models took.
share_of_tool(metric, tool) := parts(0, steps) if {
	steps := {joined.id: share(metric).steps[joined.id] | some joined in lib.steps; joined.tool == tool}
	count(steps) > 0
}

# METADATA
# description: What one call of a tool is expected to cost.
tool_cost(name) := data.tables.costs.tools[name]

tool_cost(name) := data.tables.costs.other_tools if not data.tables.costs.tools[name]

# METADATA
# description: What models took, in tokens.
model_tokens := object.get(reported, "input_tokens", 0) + object.get(reported, "output_tokens", 0)

# METADATA
# description: What models took in money, every started unit of which counts.
model_micro_usd := sum([micro_usd |
	some model, use in object.get(reported, "models", {})
	cost := model_cost(model)
	micro_usd := ceil(((use.input_tokens * cost.input_per_million) + (use.output_tokens * cost.output_per_million)) / 1000000)
])

# METADATA
# description: What tokens of a model cost.
model_cost(model) := data.tables.costs.models[model]

model_cost(model) := data.tables.costs.other_models if not data.tables.costs.models[model]

# METADATA
# description: Whether limits refuse, which they do not where budgets are only observed.
enforced if not lib.observes("budget.exhausted")

enforced := false if lib.observes("budget.exhausted")

# METADATA
# description: The fact about a counter, if there is one.
facts(pressing) := [{"pointer": concat("", ["/usage/counters/", lib.pointer_token(pressing.key)]), "value": pressing.counter}] if {
	counters[pressing.key]
}

default facts(_) := []

# METADATA
# description: What a finding about a limit says, besides the rule's own words.
words(pressing) := {
	"budget": pressing.key,
	"limit": format_int(pressing.charge.limit, 10),
	"used": format_int(pressing.counter.used, 10),
	"reserved": format_int(pressing.counter.reserved, 10),
	"asked": format_int(pressing.charge.amount, 10),
	"reset": reset(pressing),
}

# METADATA
# description: When a limit begins anew, for people.
reset(pressing) := "with a new session" if pressing.charge.window == "session"

reset(pressing) := "never for a plan of this size" if {
	pressing.charge.window != "session"
	pressing.charge.amount > pressing.charge.limit
}

reset(pressing) := concat(" ", ["at", time.format([pressing.counter.resets_at_seconds * 1000000000, "UTC", "RFC3339"])]) if {
	pressing.charge.window != "session"
	pressing.charge.amount <= pressing.charge.limit
}
