# METADATA
# title: Chain risk
# description: |
#   The cumulative risk of what a session has done and is about to do. Each call counts its effect's base
#   risk, times the factor of its reach, times the factor of the plan's least trusted source: which of them
#   influenced a call is only what the agent says. Of past calls the sources are not known, so those count without. The products are in the tables.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.lib.risk

import data.aisecops.lib

# METADATA
# description: The score in thousandths; undefined, so that nothing is allowed, when the table lacks a factor.
score_milli := sum(array.concat(past, proposed)) if {
	count(past) == count(lib.past_entries)
	count(proposed) == count(lib.steps)
}

# METADATA
# description: The score of each past call.
past := [milli |
	some entry in lib.past_entries
	milli := data.tables.risk.past_milli[entry.effect][entry.reach]
]

# METADATA
# description: The score of each proposed call, by what it does, where, and the rank of the least trusted source.
proposed := [milli |
	some joined in lib.steps
	milli := data.tables.risk.call_milli[joined.entry.effect][joined.entry.reach][lib.lowest_rank]
]

# METADATA
# description: The facts that rules about chain risk give, which are the proposed calls that do more than read.
facts := [lib.tool_fact(joined) | some joined in lib.changing]
