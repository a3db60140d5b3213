# METADATA
# title: Screening
# description: |
#   Decides about texts that are to go into a model or came out of one. What detectors saw is in the document; what it
#   means stands in the screen table, by direction and agent, and whatever the table does not know blocks. The same
#   precedence as for plans: deny, then require_approval (a person reviews), then allow, with what has to be redacted.
# scope: package
# schemas:
#   - input: schema.screen
package aisecops.screen

import data.aisecops.decision as composition
import data.aisecops.lib
import data.aisecops.lib.approval as approvals
import data.aisecops.result

# METADATA
# description: Whether the document is about a text and not about a plan.
asked if input.kind == "screen"

# METADATA
# description: |
#   Whether the document has the shape that rules rely on. A part or a detection that could not be read is missing
#   from `parts`, which the counts show.
default valid := false

valid if {
	input.schema_version == 1
	is_string(input.mode)
	is_string(input.hash)
	is_string(input.principal.id)
	is_number(input.now.unix_seconds)
	input.direction in {"prompt", "input", "tool_result", "output"}
	is_array(input.approvals)
	is_array(input.parts)
	count(parts) > 0
	count(parts) == count(input.parts)
	every part in parts {
		count(part.detections) == count(part.given)
	}
}

# METADATA
# description: The well-formed parts in their order, each detection joined with where it stands and what it means.
parts := [part |
	some index, raw in input.parts
	is_string(raw.id)
	is_string(raw.kind)
	is_string(raw.tool)
	is_string(raw.declared_trust)
	is_number(raw.characters)
	is_boolean(raw.complete)
	is_array(raw.detections)
	part := {
		"index": index,
		"id": raw.id,
		"complete": raw.complete,
		"trust": lib.levels[lib.settled_rank(raw.kind, raw.tool, raw.declared_trust)],
		"given": raw.detections,
		"detections": [joined |
			some at, seen in raw.detections
			is_string(seen.detector)
			is_number(seen.start)
			is_number(seen.end)
			seen.start < seen.end
			joined := {
				"at": at,
				"seen": seen,
				"kind": split(seen.detector, ".")[0],
				"meaning": meaning(seen.detector, said(seen)),
			}
		],
	}
]

# METADATA
# description: Whether a detection is talked about rather than said. Only who says so plainly is believed.
said(seen) := "quoted" if seen.quoted == true

said(seen) := "quoted" if seen.discussed == true

default said(_) := "plain"

# METADATA
# description: What the table says of this agent's texts in this direction, else of everybody's.
meanings := data.tables.screen.agents[input.principal.id][input.direction]

meanings := data.tables.screen.everybody[input.direction] if {
	not data.tables.screen.agents[input.principal.id][input.direction]
}

# METADATA
# description: |
#   What a detection means: `block`, `review`, `redact` or `note`. What the table does not know blocks.
meaning(detector, how) := meanings[detector][how]

default meaning(_, _) := "block"

# METADATA
# description: The effect of a meaning. One that is none of ours denies.
effect_of("note") := "warn"

effect_of("redact") := "warn"

effect_of("review") := "require_approval"

default effect_of(_) := "deny"

# METADATA
# description: |
#   What a rule about detections of some kind finds: one finding for each part and meaning, with the first of the
#   detections as its facts. The effect is the meaning's, whatever the rule's own METADATA says.
found(chain, kind) := [finding |
	some part in parts
	some word in {detection.meaning | some detection in part.detections; detection.kind == kind}
	facts := [detection_fact(part, detection) |
		some detection in part.detections
		detection.kind == kind
		detection.meaning == word
	]
	finding := object.union(
		result.finding(chain, part.id, array.slice(facts, 0, 16)),
		{"effect": effect_of(word)},
	)
]

# METADATA
# description: A detection as a fact.
detection_fact(part, detection) := {
	"pointer": sprintf("/parts/%d/detections/%d", [part.index, detection.at]),
	"value": detection.seen,
}

# METADATA
# description: The decision on a text. Whatever is missing or unreadable denies.
decision := judged if {
	valid
} else := refused

# METADATA
# description: The decision on a malformed document.
refused := answer(
	[object.union(finding, {"would_effect": finding.effect}) |
		some finding in data.aisecops.rules.screen.malformed.findings
	],
	[{"id": composition.readable_id(raw), "outcome": "DENY", "capability": "", "granted_by": "", "grant": ""} |
		some raw in input.parts
	],
	[],
)

# METADATA
# description: The decision on a valid document.
judged := answer([finding | some finding in findings], steps, obligations)

# METADATA
# description: What the rules found. What is only observed is a remark.
findings contains counted(found) if {
	some found in reported
}

# METADATA
# description: What the rules about texts found, and whether anybody knows the agent.
reported := {finding | some rule; some finding in data.aisecops.rules.screen[rule].findings} | {finding |
	some finding in data.aisecops.rules.identity.agent_unregistered.findings
}

# METADATA
# description: A finding with the effect that it would have once reviews are counted, and the one that it has.
counted(found) := object.union(found, {"effect": composition.observed(found.rule, would), "would_effect": would}) if {
	would := lifted(found, found.effect)
}

# METADATA
# description: The effect that a finding has once reviews are counted.
lifted(found, "require_approval") := "warn" if lifts(found)

lifted(found, "require_approval") := "require_approval" if not lifts(found)

lifted(_, effect) := effect if effect != "require_approval"

# METADATA
# description: |
#   The reviews of exactly these texts: in time, by enough different people who count for an approval.
reviews := [approval |
	some approval in input.approvals
	approval.plan_hash == input.hash
	approval.expires_at_seconds > input.now.unix_seconds
	people := approvals.counting(approval.approvers, data.tables.approvals.other.groups)
	count(people) >= data.tables.approvals.other.approvers_required
]

# METADATA
# description: Whether people reviewed what a finding asks to be reviewed. They let pass what they saw, nothing else.
default lifts(_) := false

lifts(found) if {
	some review in reviews
	{"rule": found.rule, "step": found.step} in review.findings
}

# METADATA
# description: The review that let a text pass; empty when none was needed or none did.
default reviewed_by := ""

reviewed_by := reviews[0].id if {
	some found in reported
	found.effect == "require_approval"
	lifts(found)
}

# METADATA
# description: The outcome of each part in its order.
steps := [step |
	some part in parts
	step := {
		"id": part.id,
		"outcome": worst([finding.effect | some finding in findings; finding.step in {"", part.id}]),
		"capability": "",
		"granted_by": "",
		"grant": "",
	}
]

# METADATA
# description: The most restrictive outcome of some effects.
worst(effects) := composition.outcomes[max([composition.mark_of(effect) | some effect in effects])] if count(effects) > 0

worst(effects) := "ALLOW" if count(effects) == 0

# METADATA
# description: |
#   What the enforcement point must put in the place of which characters, for each part. What is only observed is
#   left as it is.
obligations := [obligation |
	some part in parts
	ranges := [range |
		some detection in part.detections
		detection.meaning == "redact"
		not lib.observes(rule_of[detection.kind])
		range := {
			"start": detection.seen.start,
			"end": detection.seen.end,
			"replacement": replacement(detection.seen.detector),
		}
	]
	count(ranges) > 0
	obligation := {"kind": "redact", "step": part.id, "parameters": {"ranges": ranges}}
]

# METADATA
# description: The rule about each kind of detections.
rule_of := {
	"injection": "screen.instructions_injected",
	"secret": "screen.secret_exposed",
	"personal": "screen.personal_data_exposed",
	"hidden": "screen.characters_hidden",
}

# METADATA
# description: What stands for a redacted place. Characters that nobody sees leave nothing behind.
replacement(detector) := "" if detector in {"hidden.zero_width", "hidden.bidi", "hidden.tags", "hidden.control"}

replacement(detector) := sprintf("[%s]", [detector]) if {
	not detector in {"hidden.zero_width", "hidden.bidi", "hidden.tags", "hidden.control"}
}

# METADATA
# description: The whole answer about a text.
answer(told, decided, obliged) := {
	"outcome": worst([finding.effect | some finding in told]),
	"findings": told,
	"steps": decided,
	"obligations": obliged,
	"sources": [{"id": part.id, "trust": part.trust} | some part in parts],
	"risk_score_milli": 0,
	"charges": [],
	"mode": lib.mode,
	"would_outcome": worst([finding.would_effect | some finding in told]),
	"approval": demand(worst([finding.effect | some finding in told]), decided),
	"approved_by": reviewed_by,
}

# METADATA
# description: What a review of a text takes, if one is required.
demand("REQUIRE_APPROVAL", decided) := {
	"approvers_required": data.tables.approvals.other.approvers_required,
	"groups": [group | some group, _ in data.tables.approvals.other.groups],
	"expires_seconds": data.tables.approvals.other.expires_seconds,
	"steps": [step.id | some step in decided; step.outcome == "REQUIRE_APPROVAL"],
}

demand(outcome, _) := null if outcome != "REQUIRE_APPROVAL"
