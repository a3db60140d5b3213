# METADATA
# title: Findings
# description: Turns the METADATA of a rule into the finding that it contributes, so that no rule carries message text.
# scope: package
package aisecops.result

# METADATA
# title: Finding
# description: |
#   Returns a rule's contribution to a decision. `chain` is `rego.metadata.chain()` of the calling rule, `step`
#   is the id of the step it concerns (empty: the whole plan), `facts` lists the {pointer, value} pairs that
#   the rule read.
finding(chain, step, facts) := {
	"rule": concat(".", array.slice(package_entry.path, 2, 4)),
	"title": about.title,
	"message": trim_space(about.description),
	"effect": about.custom.effect,
	"severity": about.custom.severity,
	"remedy": about.custom.remedy,
	"step": step,
	"facts": facts,
} if {
	package_entry := chain[count(chain) - 1]
	about := package_entry.annotations
}

# METADATA
# title: Told finding
# description: |
#   Returns a finding whose message and remedy say something of the case: each `{word}` in the METADATA stands for what
#   `words` has under that word. It is put in once, so that no value can name another word.
told(chain, step, facts, words) := object.union(plain, {
	"message": strings.replace_n(values, plain.message),
	"remedy": strings.replace_n(values, plain.remedy),
}) if {
	plain := finding(chain, step, facts)
	values := {concat("", ["{", word, "}"]): value | some word, value in words}
}
