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
# description: Every limit that concerns the plan.
limits := array.concat(
	lib.agent.limits,
	[limit |
		some joined in lib.steps
		some limit in joined.entry.limits
		first[joined.tool] == joined.index
	],
)

default limits := []

# METADATA
# description: The index of the first step of each tool.
first := {tool: min([other.index | some other in lib.steps; other.tool == tool]) |
	some joined in lib.steps
	tool := joined.tool
}

# METADATA
# description: What the control plane looked up.
subjects := object.get(input.usage, "subjects", {})

counters := object.get(input.usage, "counters", {})

# METADATA
# description: What models took since the last plan, as the runtime reports it. It can only add.
reported := object.get(input.usage, "reported", {})

# METADATA
# description: |
#   What the plan takes from each limit of which is known what was used. Of calls and writes nothing is told where
#   the plan makes none; what calls take of the other metrics is only known when they are over.
takings := [taking |
	some limit in limits
	id := subject_id(limit)
	parts := {step: amount | some step, amount in per_step[limit.metric]; concerns(limit, step)}
	already := spent(limit)
	amount := already + sum([part | some part in parts])
	not idle(limit.metric, amount)
	key := concat("", [limit.subject, ":", id, "/", limit.metric, "/", limit.window])
	counter := object.get(counters, key, unused)
	taking := {
		"key": key,
		"counter": counter,
		"after": (counter.used + counter.reserved) + amount,
		"ask_above": limit.ask_above,
		"charge": {
			"subject": limit.subject,
			"id": id,
			"metric": limit.metric,
			"window": limit.window,
			"amount": amount,
			"spent": already,
			"steps": parts,
			"limit": limit.limit,
			"enforced": enforced,
		},
	}
]

unused := {"used": 0, "reserved": 0, "overrun": 0, "frozen": false, "resets_at_seconds": 0}

# METADATA
# description: The charges of the plan, one for each limit. The engine skips this by its index where there are none.
default charges := []

charges := [taking.charge | some taking in takings] if data.tables.has.limits == true

# METADATA
# description: The limits of which nobody looked up what was used.
unknown := [limit |
	some limit in limits
	not subject_id(limit)
]

# METADATA
# description: Who is counted, if the control plane looked it up. A session's id is the control plane's own.
subject_id(limit) := limit.id if {
	limit.subject == "tool"
	is_object(object.get(input.usage, "counters", null))
}

subject_id(limit) := limit.id if {
	not limit.subject in {"tool", "session"}
	subjects[limit.subject] == limit.id
}

subject_id(limit) := subjects.session if {
	limit.subject == "session"
	subjects.session != ""
}

# METADATA
# description: Whether a step counts for a limit.
concerns(limit, _) if limit.subject != "tool"

concerns(limit, step) if {
	some joined in lib.steps
	joined.id == step
	joined.tool == limit.id
}

# METADATA
# description: Whether a plan takes nothing that could be counted.
idle(metric, 0) if metric in {"calls", "writes"}

# METADATA
# description: What each step is expected to take, by metric.
per_step := {
	"calls": {joined.id: 1 | some joined in lib.steps},
	"writes": {joined.id: 1 | some joined in lib.changing},
	"tokens": {},
	"micro_usd": {joined.id: joined.entry.cost.micro_usd | some joined in lib.steps},
	"wall_milliseconds": {joined.id: joined.entry.cost.wall_milliseconds | some joined in lib.steps},
}

# METADATA
# description: What was spent before the plan, on models. Tools do not share in it.
spent(limit) := object.get(model_use, limit.metric, 0) if limit.subject != "tool"

spent(limit) := 0 if limit.subject == "tool"

# METADATA
# description: What models took, in tokens and in money, every started unit of which counts.
model_use := {
	"tokens": object.get(reported, "input_tokens", 0) + object.get(reported, "output_tokens", 0),
	"micro_usd": sum([micro_usd |
		some model, use in object.get(reported, "models", {})
		cost := model_cost(model)
		micro_usd := ceil(((use.input_tokens * cost.input_per_million) + (use.output_tokens * cost.output_per_million)) / 1000000)
	]),
}

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
facts(taking) := [{"pointer": concat("", ["/usage/counters/", lib.pointer_token(taking.key)]), "value": taking.counter}] if {
	counters[taking.key]
}

default facts(_) := []

# METADATA
# description: What a finding about a limit says, besides the rule's own words.
words(taking) := {
	"budget": taking.key,
	"limit": format_int(taking.charge.limit, 10),
	"used": format_int(taking.counter.used, 10),
	"reserved": format_int(taking.counter.reserved, 10),
	"asked": format_int(taking.charge.amount, 10),
	"reset": reset(taking),
}

# METADATA
# description: When a limit begins anew, for people.
reset(taking) := "with a new session" if taking.charge.window == "session"

reset(taking) := "never for a plan of this size" if {
	taking.charge.window != "session"
	taking.charge.amount > taking.charge.limit
}

reset(taking) := concat(" ", ["at", time.format([taking.counter.resets_at_seconds * 1000000000, "UTC", "RFC3339"])]) if {
	taking.charge.window != "session"
	taking.charge.amount <= taking.charge.limit
}
