# METADATA
# title: Grants
# description: What agents are granted is narrow where it is dangerous, and ends.
# scope: package
package conftest.grants

import data.conftest.lib.tables

agents := tables.table("agents")

# METADATA
# description: A scope that covers every host below one, or everything below a root, ends on a day.
deny contains message if {
	some agent, entry in agents
	some capability, grant in entry.capabilities
	not grant.expires
	some kind in {"scopes", "role_scopes"}
	some argument, scope in grant[kind]
	some wide in wide_values(scope)
	message := tables.said(
		[tables.path("agents"), agent, "capabilities", capability],
		[
			"grants.wildcard",
			sprintf("%s#%s", [agent, capability]),
			sprintf("the scope of '%s' covers '%s', and the grant of %s never ends", [argument, wide, capability]),
			"Name the hosts or folders one by one, or write 'expires: YYYY-MM-DD'",
		],
	)
}

# METADATA
# description: A grant that lasts for years is not looked at again.
deny contains message if {
	some agent, entry in agents
	some capability, grant in entry.capabilities
	day(grant.expires) > day(tables.today) + (((366 * 2) * 24) * 3600000000000)
	message := tables.said(
		[tables.path("agents"), agent, "capabilities", capability],
		[
			"grants.long",
			sprintf("%s#%s", [agent, capability]),
			sprintf("the grant of %s lasts until %s, more than two years", [capability, grant.expires]),
			"Let it end within two years, and grant it anew then",
		],
	)
}

# METADATA
# description: A grant that has expired covers nothing and hides what holds.
warn contains message if {
	some agent, entry in agents
	some capability, grant in entry.capabilities
	grant.expires < tables.today
	message := tables.said(
		[tables.path("agents"), agent, "capabilities", capability],
		[
			"grants.expired",
			sprintf("%s#%s", [agent, capability]),
			sprintf("the grant of %s expired on %s", [capability, grant.expires]),
			"Remove it, or grant it anew",
		],
	)
}

# METADATA
# description: Nobody grants to themselves what is dangerous and somebody else's.
deny contains message if {
	some agent, entry in agents
	some capability, grant in entry.capabilities
	lower(grant.granted_by) in {lower(agent), lower(entry.owner), lower(entry.contact)}
	about := tables.table("capabilities")[capability]
	about.risk == "high"
	lower(about.owner) != lower(entry.owner)
	message := tables.said(
		[tables.path("agents"), agent, "capabilities", capability],
		[
			"grants.own",
			sprintf("%s#%s", [agent, capability]),
			sprintf("%s grants itself %s, whose risk is high", [grant.granted_by, capability]),
			"Let the owner of the capability grant it",
		],
	)
}

# METADATA
# description: One agent that reads untrusted words, reaches outside and runs commands is one step from an attack.
deny contains message if {
	some agent, entry in agents
	held := {tool |
		some capability, _ in entry.capabilities
		some tool in tables.table("capabilities")[capability].tools
	}
	effects := {[effect, reach] |
		some tool in held
		effect := object.get(tables.table("tools")[tool], "effect", "execute")
		reach := object.get(tables.table("tools")[tool], "reach", "external")
	}
	["spend", "external"] in effects
	["execute", "external"] in effects
	message := tables.said(
		[tables.path("agents"), agent],
		[
			"grants.toxic",
			agent,
			"it may both run commands and spend money",
			"Split the work between two agents, each with what it needs",
		],
	)
}

wide_values(scope) := {value |
	some value in object.get(scope, "domains", [])
	startswith(value, "*.")
} | {value |
	some value in object.get(scope, "paths", [])
	count(split(trim(value, "/"), "/")) < 2
	startswith(value, "/")
}

day(text) := time.parse_ns("2006-01-02", text)
