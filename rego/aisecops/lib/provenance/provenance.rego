# METADATA
# title: Provenance of argument values
# description: |
#   Judges, once for all rules, where the values of calls that change something came from. The control plane says
#   where each value was seen and in what form; the tables say whom to believe. A value is good only if it was
#   seen somewhere good: not being seen anywhere bad proves nothing. No rule reads the wording of a source.
# scope: package
# schemas:
#   - input: schema.input
package aisecops.lib.provenance

import data.aisecops.lib

# METADATA
# description: The steps that do anything but read.
changing := lib.changing

# METADATA
# description: The place of each source in the document.
places := {source.id: index | some index, source in input.sources}

# METADATA
# description: A source by its id; undefined if the document does not have it.
source_of(id) := input.sources[places[id]]

# METADATA
# description: The sources that may not steer an action, among them those that nobody vouches for.
untrusted := {id: true |
	some id, rank in lib.source_ranks
	rank >= 2
}

# METADATA
# description: |
#   Whether anything untrusted may have steered the plan. A plan that names no source has not said that nothing did.
default tainted := true

tainted := false if {
	count(input.sources) > 0
	count(untrusted) == 0
}

# METADATA
# description: |
#   The actions that the human's words ask for, among them `delegating` and `delegated` for the two words by which
#   they let a text speak for them.
asked_actions := {action: true |
	# A name for the table, in which a word that it lacks costs less than one that is looked up in the tables.
	actions := data.tables.vocabulary.actions
	some word, _ in input.request.words
	some action, _ in actions[word]
}

# METADATA
# description: Whether the human asked for what a tool does.
default asked(_) := false

asked(joined) if {
	some action, _ in joined.entry.asked_by
	asked_actions[action]
	about(joined)
}

# METADATA
# description: |
#   Whether the human spoke of what a call concerns. It matters for what cannot be taken back: who asks to delete
#   a file has not asked to delete mail. The tool's name says what it concerns, or a value that the human gave.
about(joined) if not joined.entry.effect in grave

about(joined) if count(joined.entry.concerns) == 0

about(joined) if {
	some word, _ in joined.entry.concerns
	input.request.words[word]
}

about(joined) if {
	some value in joined.step.values
	value.shape in {"email", "url", "host", "iban", "word", "phrase", "path", "identifier"}
	vouched_by_human(value)
}

vouched_by_human(value) if value.named

vouched_by_human(value) if {
	some seen in value.found
	source_of(seen.source).kind == "user_prompt"
}

# METADATA
# description: Whether the human let a text that they named say what is to be done.
default delegated := false

delegated if {
	asked_actions.delegating
	asked_actions.delegated
}

# METADATA
# description: Whether the human asked for it or, where that can be taken back, let a text ask for it.
wanted(joined) if asked(joined)

wanted(joined) if {
	delegated
	not joined.entry.effect in grave
}

# METADATA
# description: Effects that cannot be taken back.
grave := {"delete", "spend", "execute"}

# METADATA
# description: Shapes that name exactly one thing in the world.
distinctive := {"email", "url", "host", "iban"}

# METADATA
# description: Shapes of names and numbers, whose meaning depends on where they are used.
natural := {"word", "phrase", "path", "number", "identifier", "text"}

# METADATA
# description: The roles of values that select whom or what a call concerns.
selecting := {"destination", "object"}

# METADATA
# description: |
#   What a top-level argument is: what the catalogue says, else what the last known word of its name says; undefined
#   if nobody knows.
role_of(joined, argument) := joined.entry.arguments[argument]

role_of(joined, argument) := known[count(known) - 1] if {
	not joined.entry.arguments[argument]
	parted := regex.replace(argument, `([a-z0-9])([A-Z])`, "${1}_${2}")
	known := [role |
		some word in split(replace(lower(parted), "-", "_"), "_")
		role := data.tables.vocabulary.arguments[word]
	]
}

# METADATA
# description: The roles of the arguments of one step.
roles(joined) := {argument: role_of(joined, argument) | some argument, _ in joined.step.arguments}

# METADATA
# description: |
#   What one value is to its call. References in content count; what else stands inside a value (`inner`) is
#   judged with the whole of it.
role(known, value) := "reference" if {
	refers(known, value)
} else := known[value.argument] if {
	not value.embedded
} else := guess[value.shape] if {
	not value.embedded
	not known[value.argument]
} else := "inner"

# METADATA
# description: Whether a value is a link or address in what is sent, be it a part of the content or all of it.
refers(known, value) if {
	value.shape in distinctive
	value.embedded
	object.get(known, value.argument, "content") in {"content", "setting"}
}

refers(known, value) if {
	value.shape in distinctive
	not value.embedded
	known[value.argument] in {"content", "setting"}
}

# METADATA
# description: What a value is by its shape, in an argument that nobody described.
guess := {
	"email": "destination",
	"url": "destination",
	"host": "destination",
	"iban": "destination",
	"path": "object",
	"identifier": "object",
	"word": "object",
	"phrase": "object",
	"number": "setting",
	"text": "content",
}

# METADATA
# description: |
#   Every value of every changing step that selects something or is a reference in outgoing content, with what is
#   known about where it came from. Rules pick by `class` and `role`.
judged := [judgement |
	some joined in changing
	known := roles(joined)
	some index, value in joined.step.values
	part := role(known, value)
	part in {"destination", "object", "reference"}
	judgement := {
		"joined": joined,
		"index": index,
		"value": value,
		"role": part,
		"class": class(joined, value),
	}
]

# METADATA
# description: |
#   Where a value came from, best first: `vouched` (the human or a record of our own said it), `recorded` (a field
#   of a believed record), `contested` (such a field, but untrusted prose names it too), `introduced` (prose of a
#   source that the human named, about a name that the human said), `quoted` (prose of a source that the human
#   named), `dictated` (only untrusted prose), `unseen` (nowhere).
class(joined, value) := "vouched" if {
	vouched(value)
} else := "contested" if {
	believed(value)
	contested(joined, value)
} else := "recorded" if {
	believed(value)
} else := heard(joined, value) if {
	count(value.found) > 0
} else := "unseen"

# METADATA
# description: How a value was heard that stands in no believed field.
heard(joined, value) := "introduced" if {
	pointed_at(value)
	introduced(joined, value)
} else := "quoted" if {
	pointed_at(value)
} else := "quoted" if {
	plausible(value)
} else := "dictated"

# METADATA
# description: Whether the value is a field of what may be a record, although nobody said that it is one.
plausible(value) if {
	some seen in value.found
	seen.form in {"whole", "field"}
	structure(seen) == "names"
}

# METADATA
# description: Whether the human spoke of the one whom an address names, and asked for what is to be done.
introduced(joined, value) if {
	value.named
	given(value)
	asked(joined)
}

# METADATA
# description: |
#   Whether the human gave the very address, path or id of a source in which the value stands. Words of an address
#   or of a search are not enough: whoever writes a page chooses them too.
given(value) if {
	some seen in value.found
	source_of(seen.source).given
}

# METADATA
# description: Whether the human named the origin of a source in which the value stands.
pointed_at(value) if {
	some seen in value.found
	source_of(seen.source).pointed_at
}

# METADATA
# description: Whether a trusted source or a record of our own has the value, or the human said its words.
vouched(value) if {
	some seen in value.found
	lib.rank_of(seen.source) == 0
}

vouched(value) if {
	some seen in value.found
	lib.rank_of(seen.source) == 1
	seen.form in {"whole", "field"}
	structure(seen) == "all"
}

vouched(value) if {
	value.named
	value.shape in {"word", "phrase", "path"}
}

# METADATA
# description: Whether the value is a field of a record whose structure is believed.
believed(value) if {
	some seen in value.found
	seen.form in {"whole", "field"}
	structure(seen) == "all"
}

believed(value) if {
	some seen in value.found
	seen.form in {"whole", "field", "line"}
	structure(seen) in {"all", "names"}
	value.shape in natural
}

# METADATA
# description: How far the structure of a source is believed; only what a tool returned has structure.
structure(seen) := lib.tool(source.tool).result_records if {
	source := source_of(seen.source)
	source.kind == "tool_result"
}

default structure(_) := "none"

# METADATA
# description: |
#   Whether untrusted prose names the value too, so that a text may be steering the choice. A record that the
#   human named settles it, except for what cannot be taken back; common words are in every text.
contested(joined, value) if {
	joined.entry.effect in grave
	in_untrusted_prose(value)
}

contested(joined, value) if {
	not joined.entry.effect in grave
	value.shape != "word"
	not bound(value)
	in_untrusted_prose(value)
}

# METADATA
# description: Whether the value stands in prose of a source that is not trusted, be it our own.
in_untrusted_prose(value) if {
	some seen in value.found
	seen.prose
	lib.rank_of(seen.source) > 0
}

# METADATA
# description: Whether a believed record that holds the value also holds something else that the human named.
bound(value) if {
	some seen in value.found
	seen.bound
	structure(seen) in {"all", "names"}
}

# METADATA
# description: The facts about one value, which are what it is and the untrusted sources that have it.
facts(judgement) := array.concat(
	[lib.step_fact(judgement.joined, concat("", ["/arguments", judgement.value.pointer]), judgement.value.value)],
	[{"pointer": sprintf("/sources/%d/id", [places[seen.source]]), "value": seen.source} |
		some seen in judgement.value.found
		lib.rank_of(seen.source) > 0
	],
)

# METADATA
# description: The facts about all values of a step among `judgements`.
facts_of(joined, judgements) := [fact |
	some judgement in judgements
	judgement.joined.id == joined.id
	some fact in facts(judgement)
]
