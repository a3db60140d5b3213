# METADATA
# title: Trust
# description: What outsiders can write is never trusted, whatever table says so.
# scope: package
package conftest.trust

import data.conftest.lib.tables

# The most that each kind of source may be trusted.
most := {
	"retrieval_chunk": "external",
	"agent_message": "internal",
	"memory": "internal",
	"skill": "internal",
}

rank := {"trusted": 0, "internal": 1, "external": 2, "unverified": 3}

# METADATA
# description: Kinds of sources that others can write stay at what they are.
deny contains message if {
	some kind, level in tables.table("trust")
	rank[level] < rank[most[kind]]
	message := tables.said(
		[tables.path("trust"), kind],
		[
			"trust.raised",
			kind,
			sprintf("'%s' is trusted as %s: others can write it, so it is %s at most", [kind, level, most[kind]]),
			sprintf("Write '%s: %s'", [kind, most[kind]]),
		],
	)
}

# METADATA
# description: What comes from outside is not as if we had written it.
deny contains message if {
	some tool, entry in tables.table("tools")
	entry.effect == "read"
	entry.reach == "external"
	rank[object.get(entry, "result_trust", "unverified")] < rank.external
	message := tables.said(
		[tables.path("tools"), tool, "result_trust"],
		[
			"trust.result",
			tool,
			sprintf("it reads what lies outside the company, and its result is trusted as %s", [entry.result_trust]),
			"Write 'result_trust: external', or leave it out",
		],
	)
}

# METADATA
# description: The risk of what untrusted words steer is not counted as less than that of others.
deny contains message if {
	risk := tables.table("risk")
	some level in {"external", "unverified"}
	risk.trust_percent[level] < risk.trust_percent.trusted
	message := tables.said(
		[tables.path("risk"), "trust_percent", level],
		[
			"trust.risk",
			level,
			sprintf("what %s words steer counts for less than what trusted words do", [level]),
			"Let it count for at least as much",
		],
	)
}
