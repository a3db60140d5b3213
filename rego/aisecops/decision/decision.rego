# METADATA
# title: Decision
# description: |
#   Composes the findings of all rules into one decision. Rules never know each other; precedence is here and
#   nowhere else: deny, then require_approval, then allow. A step is allowed for a reason (a grant covers it and
#   nothing was found), never for want of one. Whatever is missing or unreadable denies.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.decision

import data.aisecops.lib

# The answer when there is none: not even the steps could be read, so nothing can be executed on it.
default decision := {
	"outcome": "DENY",
	"findings": [{
		"rule": "plan.malformed",
		"title": "Malformed document",
		"message": "The document could not be evaluated.",
		"effect": "deny",
		"severity": "critical",
		"remedy": "Send a plan that follows the contract; nothing was allowed.",
		"step": "",
		"facts": [],
	}],
	"steps": [],
	"obligations": [],
	"sources": [],
	"risk_score_milli": 0,
}

# METADATA
# title: Decision
# description: The decision on one document.
# entrypoint: true
decision := {
	"outcome": outcome,
	"findings": [finding | some finding in findings],
	"steps": steps,
	"obligations": obligations,
	"sources": sources,
	"risk_score_milli": risk_score_milli,
}

# METADATA
# description: |
#   What the rules found. A malformed document is judged by one rule only, because the others rely on its shape.
reported contains finding if {
	lib.valid
	some category, rule
	some found in data.aisecops.rules[category][rule].findings
	finding := lifted(found)
}

reported contains finding if {
	not lib.valid
	some finding in data.aisecops.rules.plan.malformed.findings
}

# METADATA
# description: |
#   Steps that no grant covers although no rule denied them: denied here, so that no missing rule can allow one.
uncovered contains finding if {
	lib.valid
	some joined in lib.steps
	joined.grant.capability == ""
	not concerns(reported_denied, joined.id)
	finding := {
		"rule": "decision.not_covered",
		"title": "Not covered by a grant",
		"message": "No capability that the agent holds covers this call, and what is not granted is denied.",
		"effect": "deny",
		"severity": "high",
		"remedy": "Use a tool that one of the agent's capabilities lists, or ask its owner for a grant.",
		"step": joined.id,
		"facts": [lib.tool_fact(joined)],
	}
}

# METADATA
# description: Ids of steps that a rule denied.
reported_denied := {finding.step |
	some finding in reported
	finding.effect == "deny"
}

# METADATA
# description: Everything that was found.
findings := reported | uncovered

# METADATA
# description: A finding as it counts; a granted approval turns a demand for one into a remark.
lifted(finding) := finding if not lift(finding)

lifted(finding) := object.union(finding, {"effect": "warn"}) if lift(finding)

# METADATA
# description: Whether an approval answers a finding.
lift(finding) if {
	finding.effect == "require_approval"
	lib.approved
}

# METADATA
# description: Ids of denied steps; the empty id stands for the whole plan.
denied := {finding.step |
	some finding in findings
	finding.effect == "deny"
}

# METADATA
# description: Ids of steps that wait for people; the empty id stands for the whole plan.
held := {finding.step |
	some finding in findings
	finding.effect == "require_approval"
}

# METADATA
# description: The outcome of the whole plan. Only a valid document can be allowed.
default outcome := "DENY"

outcome := "REQUIRE_APPROVAL" if {
	lib.valid
	count(denied) == 0
	count(held) > 0
}

outcome := "ALLOW" if {
	lib.valid
	count(denied) == 0
	count(held) == 0
	every joined in lib.steps {
		joined.grant.capability != ""
	}
}

# METADATA
# description: The outcome of one step.
step_outcome(id) := "ALLOW" if {
	not concerns(denied, id)
	not concerns(held, id)
}

step_outcome(id) := "REQUIRE_APPROVAL" if {
	not concerns(denied, id)
	concerns(held, id)
}

default step_outcome(_) := "DENY"

# METADATA
# description: Whether a set of step ids includes a step, or the whole plan.
concerns(ids, _) if "" in ids

concerns(ids, id) if id in ids

# METADATA
# description: The outcome of each step in plan order, with the grant that covers it.
steps := [step |
	some joined in lib.steps
	step := {
		"id": joined.id,
		"outcome": step_outcome(joined.id),
		"capability": joined.grant.capability,
		"granted_by": joined.grant.granted_by,
	}
] if {
	lib.valid
}

steps := [step |
	some raw in input.plan.steps
	step := {"id": readable_id(raw), "outcome": "DENY", "capability": "", "granted_by": ""}
] if {
	not lib.valid
}

# METADATA
# description: The id of a step that may have none.
readable_id(step) := step.id if is_string(step.id)

default readable_id(_) := ""

# METADATA
# description: What the enforcement point must also do when it executes a step, by the tool's catalogue entry.
obligations := [obligation |
	lib.valid
	some joined in lib.steps
	some item in joined.entry.obligations
	obligation := {"kind": item.kind, "step": joined.id, "parameters": item.parameters}
]

# METADATA
# description: How far each source was trusted.
sources := [{"id": source.id, "trust": lib.levels[lib.source_ranks[source.id]]} |
	lib.valid
	some source in input.sources
]

# METADATA
# description: The cumulative risk of the session, in thousandths.
risk_score_milli := data.aisecops.lib.risk.score_milli if lib.valid

risk_score_milli := 0 if not lib.valid
