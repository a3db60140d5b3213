# METADATA
# title: Approvals
# description: |
#   Which demands for approval an approval lifts: those that its approvers saw, when enough of them count. Nobody counts
#   who asks, or who answers for an agent that does. Asked only where something demands approval.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.lib.approval

import data.aisecops.lib

# METADATA
# description: What an approval of a step takes, by its tool; of the whole plan (no step), what approvals take at all.
requirement(step) := special[step]

requirement(step) := data.tables.approvals.other if not special[step]

special := {joined.id: data.tables.approvals.tools[joined.tool] | some joined in lib.steps}

# METADATA
# description: The approvals that cover exactly this plan and are in time.
covering := [approval |
	some approval in input.approvals
	approval.plan_hash == input.plan.hash
	approval.expires_at_seconds > input.now.unix_seconds
]

# METADATA
# description: The id of the approval that lifts what a rule demands for a step; undefined when none does.
lifting(rule, step) := found[0] if {
	needed := requirement(step)
	found := [approval.id |
		some approval in covering
		shown(approval, rule, step)
		count(counting(approval.approvers, needed.groups)) >= needed.approvers_required
	]
}

# METADATA
# description: Whether the people who approved saw the demand.
shown(approval, rule, step) if {
	some found in approval.findings
	found.rule == rule
	found.step == step
}

# METADATA
# description: The different people among approvers who count for an approval by some groups (none means anybody).
counting(approvers, groups) := {name |
	some approver in approvers
	name := object.get(data.tables.person_names, lower(approver), lower(approver))
	not lower(name) in asking
	not answering(name)
	entitled(name, groups)
}

# METADATA
# description: Who asks, as they may be named, and who owns them.
asking := {lower(id) | some id in agents} | {lower(owner) | some id in agents; owner := data.tables.agents[id].owner}

agents := {input.principal.id} | {above.agent_id | some above in input.delegation}

# METADATA
# description: Whether a person is in a team that owns an agent which asks.
answering(name) if {
	some id in agents
	data.tables.people[name].teams[data.tables.agents[id].owner]
}

# METADATA
# description: Whether a person is in one of the groups.
entitled(_, groups) if count(groups) == 0

entitled(name, groups) if {
	some group, _ in groups
	data.tables.people[name].groups[group]
}
