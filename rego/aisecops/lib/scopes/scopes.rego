# METADATA
# title: Scopes
# description: |
#   Whether the value of an argument lies within what a grant is scoped to. A value is inside only if it can be read in
#   one way, and that way is inside. Whatever a tool may read differently than it looks (encoded, folded in another
#   case, with a part that goes up, with a name before the host) is outside.
# scope: package
package aisecops.lib.scopes

# METADATA
# description: |
#   What is outside of the checks. A check names the places of an argument, each a path inside the arguments; all that
#   are there must be inside, and one must be there if the check requires it.
outside(checks, arguments) := array.concat(
	[found |
		some check in checks
		some place in check.places
		value := object.get(arguments, place, null)
		not absent(value)
		not amount_inside(value, check.is)
		some found in offending(value, place, check)
	],
	[{"path": lacking, "says": check.says, "value": null} |
		some check in checks
		check.required
		every place in check.places {
			absent(object.get(arguments, place, null))
		}
		some lacking in first(check.places)
	],
)

# METADATA
# description: The first of some places, or the arguments as a whole.
first(places) := array.slice(array.concat(places, [[]]), 0, 1)

# METADATA
# description: Whether a value says nothing.
absent(value) if {
	every leaf in [leaf | walk(value, [_, leaf]); not is_array(leaf)] {
		leaf in {null, ""}
	}
}

# METADATA
# description: Whether an amount is inside, which it must be by itself. A list of amounts adds up to something else.
amount_inside(value, is) if {
	is_number(value)
	value >= is.at_least
	value <= is.at_most
}

# METADATA
# description: The parts of a value that are outside. What is neither a list nor a text is never inside of texts.
offending(value, place, check) := [{"path": array.concat(place, path), "says": check.says, "value": shown(leaf)} |
	walk(value, [path, leaf])
	not is_array(leaf)
	not leaf_inside(leaf, check.is)
]

# METADATA
# description: A value, cut to what a person reads.
shown(leaf) := substring(leaf, 0, 256) if is_string(leaf)

shown(leaf) := leaf if not type_name(leaf) in {"string", "object"}

shown(leaf) := {} if is_object(leaf)

# METADATA
# description: Whether one text, or one number or truth value that is listed, is inside.
leaf_inside(leaf, is) if is.texts[leaf]

leaf_inside(leaf, is) if leaf in is.others

leaf_inside(leaf, is) if is.recipients[leaf]

leaf_inside(leaf, is) if {
	is_string(leaf)
	path_inside(leaf, is.paths)
}

leaf_inside(leaf, is) if {
	is_string(leaf)
	every piece in pieces(leaf) {
		reached(piece, is)
	}
}

# METADATA
# description: What a text that may be a list names, which is at least one thing.
pieces(text) := found if {
	found := [piece | some piece in regex.split(`[\s,;]+`, text); piece != ""]
	count(found) > 0
}

# METADATA
# description: Whether one recipient is inside, as it is or by where it is.
reached(piece, is) if is.recipients[piece]

reached(piece, is) if is.hosts[host(piece)]

reached(piece, is) if {
	parts := regex.find_all_string_submatch_n(`^([^:]*)(:[0-9]+)?$`, host(piece), 1)[0]
	labels := split(parts[1], ".")
	some start in numbers.range(1, count(labels) - 1)
	parent := concat(".", array.slice(labels, start, count(labels)))
	is.under[concat("", [parent, parts[2]])]
}

# METADATA
# description: |
#   The host, with its port if one is given, of a plain mail address, URL or host; undefined for what only looks like
#   one. Nothing may stand before the host of a URL, and nothing but a path or a query behind it.
host(text) := lower(regex.find_all_string_submatch_n(url, text, 1)[0][1])

host(text) := lower(regex.find_all_string_submatch_n(mail, text, 1)[0][1])

host(text) := lower(text) if regex.match(bare, text)

url := `^[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?)(?:[/?][^\s\\\x00-\x1f\x7f]*)?$`

mail := `^[A-Za-z0-9._+=-]+@([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)$`

bare := `^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?$`

# METADATA
# description: |
#   Whether a path is one of `paths` or lies below one. Its parts are letters, digits and a few signs, none of them only
#   dots, none with a dot or blank at its end, so that no file system reads another path in it. Links inside a tree are
#   the executor's to refuse: policy sees no files.
path_inside(text, paths) if {
	regex.match(plain_path, text)
	parts := split(trim_right(text, "/"), "/")
	some last, _ in parts
	paths[concat("/", array.slice(parts, 0, last + 1))]
}

plain_path := `^/?\.?[\pL\pN\pM_@+=()\[\]-](?:[\pL\pN\pM_@+=()\[\]. -]*[\pL\pN\pM_@+=()\[\]-])?(?:/\.?[\pL\pN\pM_@+=()\[\]-](?:[\pL\pN\pM_@+=()\[\]. -]*[\pL\pN\pM_@+=()\[\]-])?)*/?$`
