# METADATA
# title: Decision
# description: |
#   Composes the findings of all rules into one decision. Rules never know each other; precedence is here and
#   nowhere else: deny, then require_approval, then allow. What is only observed counts as a warning and keeps its
#   own effect in `would_effect`. A step is allowed for a reason (a grant covers it and
#   nothing was found), never for want of one. Whatever is missing or unreadable denies.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.decision

import data.aisecops.lib
import data.aisecops.lib.approval
import data.aisecops.lib.budget
import data.aisecops.lib.risk
import data.aisecops.screen

# The answer when there is none: not even the steps could be read, so nothing can be executed on it.
default decision := {
	"outcome": "DENY",
	"findings": [{
		"rule": "plan.malformed",
		"title": "Malformed document",
		"message": "The document could not be evaluated.",
		"effect": "deny",
		"would_effect": "deny",
		"severity": "critical",
		"remedy": "Send a plan that follows the contract; nothing was allowed.",
		"step": "",
		"facts": [],
	}],
	"steps": [],
	"obligations": [],
	"sources": [],
	"risk_score_milli": 0,
	"charges": [],
	"mode": "enforce",
	"would_outcome": "DENY",
	"approval": null,
	"approved_by": "",
}

# METADATA
# title: Decision
# description: The decision on one document.
# entrypoint: true
decision := screen.decision if {
	screen.asked
} else := judged if {
	lib.valid
} else := refused if {
	not lib.valid
}

# METADATA
# description: |
#   The decision on a malformed document. One rule only says what is wrong, because the others rely on its shape.
refused := {
	"outcome": "DENY",
	"findings": [object.union(finding, {"would_effect": finding.effect}) |
		some finding in data.aisecops.rules.plan.malformed.findings
	],
	"steps": [step |
		some raw in input.plan.steps
		step := {"id": readable_id(raw), "outcome": "DENY", "capability": "", "granted_by": "", "grant": ""}
	],
	"obligations": [],
	"sources": [],
	"risk_score_milli": 0,
	"charges": [],
	"mode": "enforce",
	"would_outcome": "DENY",
	"approval": null,
	"approved_by": "",
}

# METADATA
# description: The id of a step that may have none.
readable_id(step) := step.id if is_string(step.id)

default readable_id(_) := ""

# METADATA
# description: |
#   The decision on a valid document. Where nothing was found there is nothing to weigh, and a step without a grant
#   would have been found.
judged := {
	"outcome": "ALLOW",
	"findings": [],
	"steps": [step |
		some joined in lib.steps
		step := {
			"id": joined.id,
			"outcome": "ALLOW",
			"capability": joined.grant.capability,
			"granted_by": joined.grant.granted_by,
			"grant": joined.grant.id,
		}
	],
	"obligations": obligations,
	"sources": sources,
	"risk_score_milli": risk.score_milli,
	"charges": budget.charges,
	"mode": lib.mode,
	"would_outcome": "ALLOW",
	"approval": null,
	"approved_by": "",
} if {
	count(reported) == 0
	count(unreported) == 0
} else := {
	"outcome": outcome,
	"findings": [finding | some finding in findings],
	"steps": [answered(joined, outcomes[max([marks[""], object.get(marks, joined.id, 0)])]) | some joined in lib.steps],
	"obligations": obligations,
	"sources": sources,
	"risk_score_milli": risk.score_milli,
	"charges": budget.charges,
	"mode": lib.mode,
	"would_outcome": would_outcome,
	"approval": demand,
	"approved_by": approved_by,
} if {
	# Said once more, because what has no answer above must not get one here.
	count(findings) > 0
}

# METADATA
# description: The outcome of a step, with the grant that covers it.
answered(joined, its_outcome) := {
	"id": joined.id,
	"outcome": its_outcome,
	"capability": joined.grant.capability,
	"granted_by": joined.grant.granted_by,
	"grant": joined.grant.id,
}

# METADATA
# description: The outcome, which is the most restrictive mark of all.
outcome := outcomes[max([mark | some mark in marks])]

# METADATA
# description: What the outcome would be if nothing were only observed.
would_outcome := outcomes[max([mark_of(finding.would_effect) | some finding in findings])]

# METADATA
# description: What the rules found, and what no rule found although it must be denied.
findings := (reported | unreported) | unapprovable

# METADATA
# description: |
#   What the rules found. A granted approval whose approvers saw every demand turns them into remarks, and what is only
#   observed is one.
reported contains finding if {
	some category, rule
	some found in data.aisecops.rules[category][rule].findings
	finding := counted(found)
}

# METADATA
# description: |
#   A finding with the effect that it would have and the one that it has. Mostly nothing is observed and nobody approved
#   anything; then it has its own.
counted(found) := object.union(found, {"would_effect": found.effect}) if {
	unmoved
} else := object.union(found, {"effect": observed(rule, would), "would_effect": would}) if {
	rule := object.get(found, "rule", "")
	would := lifted(object.get(found, "effect", ""), rule, object.get(found, "step", ""))
}

# METADATA
# description: Whether no finding can count for anything but what it says.
unmoved if {
	input.approvals == []
	data.tables.modes.observed == false
}

# METADATA
# description: The effect that a finding has once approvals are counted.
lifted("require_approval", _, _) := "warn" if suffices

lifted("require_approval", _, _) := "require_approval" if not suffices

lifted(effect, _, _) := effect if effect != "require_approval"

# METADATA
# description: |
#   Whether approvals lift every demand there is. One that is short of a single one lifts none, so that whoever is asked
#   anew sees, and agrees to, the whole plan.
suffices if {
	# The engine skips this by its index when nobody approved anything.
	_ = input.approvals[0]
	count(unmet) == 0
}

# METADATA
# description: The demands for approval that no approval lifts, by rule and step.
unmet contains [found.rule, found.step] if {
	some found in data.aisecops.rules[_][_].findings
	found.effect == "require_approval"
	not lib.observes(found.rule)
	not approval.lifting(found.rule, found.step)
}

# METADATA
# description: The effect that a rule's finding has once modes are counted.
observed(rule, _) := "warn" if lib.observes(rule)

observed(rule, effect) := effect if not lib.observes(rule)

# METADATA
# description: |
#   Steps that no grant covers although no rule denied them: denied here, so that no missing rule can allow one.
unreported contains finding if {
	some joined in lib.uncovered
	not denied(joined.id)
	finding := counted({
		"rule": "decision.not_covered",
		"title": "Not covered by a grant",
		"message": "No capability that the agent holds covers this call, and what is not granted is denied.",
		"effect": "deny",
		"severity": "high",
		"remedy": "Use a tool that one of the agent's capabilities lists, or ask its owner for a grant.",
		"step": joined.id,
		"facts": [lib.tool_fact(joined)],
	})
}

# METADATA
# description: Whether a rule denied a step, or the whole plan, or would have.
denied(id) if {
	some finding in reported
	finding.would_effect == "deny"
	finding.step in {"", id}
}

# METADATA
# description: Outcomes, least restrictive first; a mark is an index into them.
outcomes := ["ALLOW", "REQUIRE_APPROVAL", "DENY"]

# METADATA
# description: |
#   The most restrictive mark of each step that something was found in, and under the empty id that of the whole
#   plan. An effect that is none of ours counts as a denial.
marks := object.union_n([
	{"": 0},
	{finding.step: 1 | some finding in findings; mark_of(finding.effect) == 1},
	{finding.step: 2 | some finding in findings; mark_of(finding.effect) == 2},
])

# METADATA
# description: The mark of an effect.
mark_of("warn") := 0

mark_of("require_approval") := 1

mark_of(effect) := 2 if not effect in {"require_approval", "warn"}

# METADATA
# description: What the enforcement point must also do when it executes a step, by the tool's catalogue entry.
obligations := [obligation |
	some joined in lib.steps
	some item in joined.entry.obligations
	obligation := {"kind": item.kind, "step": joined.id, "parameters": item.parameters}
]

# METADATA
# description: How far each source was trusted, by id.
sources := [{"id": id, "trust": lib.levels[rank]} | some id, rank in lib.source_ranks]

# METADATA
# description: What each demand for an approval takes.
requirements := [approval.requirement(finding.step) |
	some finding in reported
	finding.effect == "require_approval"
]

# METADATA
# description: |
#   The groups each of which may approve everything that the plan needs approved, where any groups are asked for: who
#   approves a plan must be entitled to all of it.
able := intersection({object.keys(requirement.groups) |
	some requirement in requirements
	count(requirement.groups) > 0
})

# METADATA
# description: What an approval of the plan takes, if one is required.
default demand := null

demand := {
	"approvers_required": max([requirement.approvers_required | some requirement in requirements]),
	"groups": [group | some group in able],
	"expires_seconds": min([requirement.expires_seconds | some requirement in requirements]),
	"steps": [joined.id | some joined in lib.steps; max([marks[""], object.get(marks, joined.id, 0)]) == 1],
} if {
	outcome == "REQUIRE_APPROVAL"
}

# METADATA
# description: |
#   Demands that nobody can meet, because no group may approve all of them: denied, so that nobody waits in vain.
unapprovable contains counted({
	"rule": "decision.not_approvable",
	"title": "No group may approve all of it",
	"message": "The plan needs approval by different groups, and who approves it must be entitled to all of it.",
	"effect": "deny",
	"severity": "medium",
	"remedy": "Propose the steps that different groups of data/approvals.yaml approve as plans of their own.",
	"step": "",
	"facts": [lib.tool_fact(joined) | some joined in lib.steps; data.tables.approvals.tools[joined.tool].groups != {}],
}) if {
	some requirement in requirements
	count(requirement.groups) > 0
	count(able) == 0
}

# METADATA
# description: The approval that lifted a demand for one; empty when there was no demand or none was lifted.
default approved_by := ""

approved_by := lifters[0] if {
	suffices
	lifters := [approval.lifting(found.rule, found.step) |
		some found in data.aisecops.rules[_][_].findings
		found.effect == "require_approval"
	]
}
