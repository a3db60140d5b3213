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
# description: The score in thousandths.
score_milli := floor((sum(past) + sum(proposed)) / 10000)

# METADATA
# description: Ten thousand times the score of each past call.
past := [weighed |
	some entry in lib.past_entries
	weighed := weight(entry) * 100
]

# METADATA
# description: Ten thousand times the score of each proposed call.
proposed := [weighed |
	some joined in lib.steps
	level := lib.levels[lib.influence_rank(joined.step)]
	weighed := weight(joined.entry) * data.tables.risk.trust_percent[level]
]

# METADATA
# description: A hundred times the risk of a tool by what it does and where.
weight(entry) := data.tables.risk.base_milli[entry.effect] * data.tables.risk.reach_percent[entry.reach]

# METADATA
# description: The facts that rules about chain risk give, which are the proposed calls that do more than read.
facts := [lib.tool_fact(joined) |
	some joined in lib.steps
	joined.entry.effect != "read"
]
