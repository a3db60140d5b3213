# METADATA
# title: Conditions of this organisation
# description: What is true of our tables, besides what the product asks of everybody's.
# scope: package
package conftest.business

import data.conftest.lib.tables

# METADATA
# description: The team that answers for an agent is reached at the company's own addresses.
deny contains message if {
	some agent, entry in tables.table("agents")
	not endswith(entry.contact, "@corp.example")
	message := tables.said(
		[tables.path("agents"), agent, "contact"],
		[
			"business.contact",
			agent,
			sprintf("the contact %s is not one of ours", [entry.contact]),
			"Give an address of the team, ending with @corp.example",
		],
	)
}
