# METADATA
# title: Chain risk
# description: |
#   The cumulative risk of what a session has done and is about to do. Each call counts its effect's base
#   risk, times the factor of its reach, times the factor of the least trusted source that influenced it; the
#   influences of past calls are not in the document, so those count without. Integers only.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.lib.risk

import data.aisecops.lib

# METADATA
# description: The score in thousandths; undefined, so that nothing is allowed, when the table lacks a factor.
score_milli := floor((sum(past) + sum(proposed)) / 10000) if {
	count(past) == count(lib.past_entries)
	count(proposed) == count(lib.steps)
}

# METADATA
# description: Ten thousand times the score of each past call.
past := [weighed |
	some entry in lib.past_entries
	weighed := weight(entry.effect, entry.reach) * 100
]

# METADATA
# description: Ten thousand times the score of each proposed call.
proposed := [weighed |
	some joined in lib.steps
	percent := factor(lib.influence(joined.step.influenced_by))
	weighed := weight(joined.entry.effect, joined.entry.reach) * percent
]

# METADATA
# description: A hundred times the risk of a call by what it does and where.
weight(effect, reach) := data.tables.risk.base_milli[effect] * data.tables.risk.reach_percent[reach]

# METADATA
# description: The factor, in percent, of a trust rank.
factor(rank) := data.tables.risk.trust_percent[lib.levels[rank]]

# METADATA
# description: The facts that rules about chain risk give, which are the proposed calls that do more than read.
facts := [lib.tool_fact(joined) | some joined in lib.changing]
