# METADATA
# title: Modes
# description: What policy finds counts, unless somebody answers for that it does not.
# scope: package
package conftest.modes

import data.conftest.lib.tables

modes := tables.table("modes")

# METADATA
# description: Nothing is enforced for agents that nobody named.
deny contains message if {
	modes["default"] != "enforce"
	message := tables.said(
		[tables.path("modes"), "default"],
		[
			"modes.default",
			"default",
			sprintf("findings about all agents are only %s", [told[modes["default"]]]),
			"Write 'default: enforce', and name the agents that are to be watched only",
		],
	)
}

# METADATA
# description: A rule, or a whole category, is switched off for everybody.
deny contains message if {
	some rule, mode in modes.rules
	mode == "observe"
	message := tables.said(
		[tables.path("modes"), "rules", rule],
		[
			"modes.rule",
			rule,
			sprintf("what %s finds blocks nobody any more", [rule]),
			"Observe single agents instead, or have it waived by its owner until a day",
		],
	)
}

# METADATA
# description: An agent of production is only watched.
warn contains message if {
	some agent, mode in modes.agents
	mode != "enforce"
	"production" in tables.table("agents")[agent].environments
	message := tables.said(
		[tables.path("modes"), "agents", agent],
		[
			"modes.agent",
			agent,
			sprintf("findings about an agent of production are only %s", [told[mode]]),
			"Enforce them when it has been watched long enough",
		],
	)
}

told := {"observe": "observed", "dry_run": "tried"}
