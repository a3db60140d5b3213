# METADATA
# title: Budgets
# description: Every budget has a ceiling that somebody meant, so that an agent that runs wild is stopped soon.
# scope: package
package conftest.budgets

import data.conftest.lib.tables

# The most that a profile, a team or a tenant may use. What is above needs its owner's waiver.
ceilings := {
	"session_calls": 1000,
	"session_changes": 500,
	"items_per_step": 100,
	"micro_usd": 1000000000,
	"writes": 100000,
	"calls": 1000000,
}

budgets := tables.table("budgets")

# METADATA
# description: What one session may do is bounded.
deny contains message if {
	some profile, entry in budgets.profiles
	some field in {"session_calls", "session_changes", "items_per_step"}
	entry[field] > ceilings[field]
	message := tables.said(
		[tables.path("budgets"), "profiles", profile, field],
		[
			"budgets.ceiling",
			sprintf("profiles.%s.%s", [profile, field]),
			sprintf("%s of '%s' is %d, above %d", [field, profile, entry[field], ceilings[field]]),
			"Lower it; agents that need more get a profile of their own, waived by its owner",
		],
	)
}

# METADATA
# description: What may be used in a time is bounded.
deny contains message if {
	some kind in {"profiles", "teams", "tenants", "tools"}
	some name, entry in budgets[kind]
	some window, limits in entry.limits
	some metric, limit in limits
	limit > ceilings[metric]
	message := tables.said(
		[tables.path("budgets"), kind, name, "limits", window],
		[
			"budgets.ceiling",
			sprintf("%s.%s.limits.%s.%s", [kind, name, window, metric]),
			sprintf("'%s' may use %d %s a %s, above %d", [name, limit, metric, window, ceilings[metric]]),
			"Lower it, or have it waived by its owner",
		],
	)
}

# METADATA
# description: The profile of agents that name none limits money.
deny contains message if {
	entry := budgets.profiles["default"]
	count({window | some window, limits in object.get(entry, "limits", {}); limits.micro_usd}) == 0
	message := tables.said(
		[tables.path("budgets"), "profiles", "default"],
		[
			"budgets.money",
			"profiles.default",
			"the profile of agents that name none has no limit on money",
			"Write limits: {day: {micro_usd: …}}",
		],
	)
}
