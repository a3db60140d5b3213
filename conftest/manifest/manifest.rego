# METADATA
# title: Manifest
# description: Every part of the policy has an owner, and who owns what guards money and trust is not who builds agents.
# scope: package
package conftest.manifest

import data.conftest.lib.tables

about := tables.file("bundle.yaml")

# Who must have a word in a part, as its owner or its reviewer.
needed := {
	"rego": "security",
	"cases": "security",
	"bundle.yaml": "security",
	"data/trust.yaml": "security",
	"data/risk.yaml": "security",
	"data/screen.yaml": "security",
	"data/approvals.yaml": "secops",
	"data/people.yaml": "secops",
	"data/modes.yaml": "secops",
}

# METADATA
# description: A part that guards others has somebody of the role that answers for it.
deny contains message if {
	some part, role in needed
	entry := about.owners[part]
	not role in {entry.role, entry.reviewed_by}
	message := tables.said(
		["bundle.yaml", "owners", part],
		[
			"manifest.role",
			part,
			sprintf("%s is changed by %s and reviewed by %s; %s has no word in it", [part, entry.role, entry.reviewed_by, role]),
			sprintf("Let %s own or review it", [role]),
		],
	)
}

# METADATA
# description: What guards others has an entry of its own.
deny contains message if {
	some item in input
	item.path == "bundle.yaml"
	some part, role in needed
	not about.owners[part]
	message := tables.said(
		["bundle.yaml", "owners"],
		[
			"manifest.owner",
			part,
			sprintf("owners does not name %s", [part]),
			sprintf("Write %s: {role: …, team: …, reviewed_by: …}, with %s in it", [part, role]),
		],
	)
}
