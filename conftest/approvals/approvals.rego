# METADATA
# title: Approvals
# description: What spends needs people, more of them the more it is, and enough people to ask.
# scope: package
package conftest.approvals

import data.conftest.lib.tables

approvals := tables.table("approvals")

tools := tables.table("tools")

# Up to this amount one person is enough, and none above the second may spend without any.
single := 100

# METADATA
# description: A tool that spends outside the company asks people above some amount.
deny contains message if {
	some tool in spending
	not approvals.tools[tool]
	message := tables.said(
		[tables.path("tools"), tool],
		[
			"approvals.spend",
			tool,
			"it spends money outside the company, and nobody ever has to agree",
			sprintf("Write it under tools in data/approvals.yaml: {%s: {amount_argument: …, amount_over: …}}", [tool]),
		],
	)
}

# METADATA
# description: Above an amount that one person answers for, two must agree.
deny contains message if {
	some tool in spending
	entry := approvals.tools[tool]
	not object.get(entry, "always", false)
	entry.amount_over > single
	required(entry) < 2
	message := tables.said(
		[tables.path("approvals"), "tools", tool],
		[
			"approvals.quorum",
			tool,
			sprintf("above %d it takes %d person; it must take two", [entry.amount_over, required(entry)]),
			"Write 'approvers_required: 2', or lower amount_over to 100",
		],
	)
}

# METADATA
# description: Where something is removed for good or released, people are more than one or it is named who.
deny contains message if {
	some tool, entry in approvals.tools
	tools[tool].effect == "delete"
	required(entry) < 2
	message := tables.said(
		[tables.path("approvals"), "tools", tool],
		[
			"approvals.quorum",
			tool,
			"what it deletes does not come back, and one person is enough",
			"Write 'approvers_required: 2'",
		],
	)
}

# METADATA
# description: A quorum that nobody can reach blocks; one with nobody to spare does so on the first holiday.
deny contains message if {
	some tool, entry in approvals.tools
	some group in object.get(entry, "groups", object.get(approvals, "groups", []))
	members := {person | some person, about in tables.table("people"); group in about.groups}
	count(members) < required(entry)
	message := tables.said(
		[tables.path("approvals"), "tools", tool],
		[
			"approvals.people",
			tool,
			sprintf("%d of '%s' must agree, and it has %d", [required(entry), group, count(members)]),
			"Put more people into the group in data/people.yaml",
		],
	)
}

spending contains tool if {
	some tool, entry in tools
	entry.effect == "spend"
	object.get(entry, "reach", "external") == "external"
}

required(entry) := object.get(entry, "approvers_required", approvals.approvers_required)
