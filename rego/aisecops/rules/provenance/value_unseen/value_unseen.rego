# METADATA
# title: Value without origin
# description: Nobody named whom or what the call concerns, neither the human nor any record.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: require_approval
#   severity: medium
#   owner: platform-security
#   remedy: Look the value up in a record, or let the human name it.
#   mappings: [owasp-llm-2025:LLM01, owasp-llm-2025:LLM09, owasp-agentic-2026:ASI01]
package aisecops.rules.provenance.value_unseen

import data.aisecops.lib.provenance
import data.aisecops.result

findings contains finding if {
	some joined in provenance.changing
	matters(joined)
	facts := provenance.facts_of(joined, suspects)
	count(facts) > 0
	finding := result.finding(rego.metadata.chain(), joined.id, facts)
}

# METADATA
# description: |
#   Whether a value out of nowhere is anybody's concern: where somebody untrusted may have had a say, and where money
#   leaves, because a model that makes an account up needs nobody for it.
matters(_) if provenance.tainted

matters(joined) if pays(joined)

pays(joined) if joined.entry.effect == "spend"

# METADATA
# description: Values seen nowhere that decide where a call goes or what it destroys.
suspects := [judgement |
	some judgement in provenance.judged
	judgement.class == "unseen"
	judgement.role in provenance.selecting
	decisive(judgement)
	in_doubt(judgement)
]

# METADATA
# description: Without anything untrusted, only whom money goes to is in doubt, not which of our own things it concerns.
in_doubt(_) if provenance.tainted

in_doubt(judgement) if {
	pays(judgement.joined)
	judgement.role == "destination"
}

decisive(judgement) if judgement.role == "destination"

decisive(judgement) if judgement.value.shape in provenance.distinctive

decisive(judgement) if judgement.joined.entry.effect in provenance.grave
