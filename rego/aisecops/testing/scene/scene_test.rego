# METADATA
# title: Scenes for tests of provenance
# description: |
#   One call of an assistant that has read things: what the human said, which sources there are, and where the
#   values of the call were seen. It is a test file: no bundle carries it.
# scope: package
package aisecops.testing.scene

import data.aisecops.testing

# METADATA
# description: Tables with an inbox and a page that outsiders write, a directory of our own, and tools that change.
tables := object.union(testing.tables, {
	"agents": {"support": testing.agent({"desk": {"granted_by": "alice"}})},
	"tools": {
		"mail/read": testing.tool({"result_trust": "external"}),
		"mail/send": testing.tool({
			"effect": "send",
			"reach": "external",
			"asked_by": {"post": true},
			"arguments": {"to": "destination", "body": "content"},
		}),
		"mail/delete": testing.tool({
			"effect": "delete",
			"asked_by": {"remove": true},
			"concerns": {"mail": true},
			"arguments": {"id": "object"},
		}),
		"web/read": testing.tool({"reach": "external", "result_trust": "external", "result_records": "none"}),
		"trips/find": testing.tool({"reach": "external", "result_trust": "unverified", "result_records": "names"}),
		"staff/find": testing.tool({"result_trust": "internal"}),
		"wiki/edit": testing.tool({"effect": "write", "asked_by": {"edit": true}, "arguments": {}}),
	},
	"vocabulary": {
		"actions": {"send": {"post": true}, "delete": {"remove": true}, "edit": {"edit": true}, "do": {"delegating": true}, "steps": {"delegated": true}},
		"arguments": {"title": "content", "id": "object", "recipient": "destination", "day": "setting"},
	},
})

# METADATA
# description: A document with one call, what the human said as a list of words, and where values were seen.
scene(tool, words, values) := testing.but(testing.one(tool, {}), {
	"request": {"known": true, "words": {word: true | some word in words}, "truncated": false},
	"plan": {
		"id": "plan-1",
		"hash": "hash-1",
		"intent": "",
		"steps": [object.union(
			testing.step(tool, {value.argument: value.value | some value in values}),
			{"id": "s1", "index": 0, "values": values},
		)],
	},
	"sources": [
		testing.prompt,
		testing.source("mail", "tool_result", "mail/read"),
		testing.source("page", "tool_result", "web/read"),
		testing.source("trip", "tool_result", "trips/find"),
		testing.source("staff", "tool_result", "staff/find"),
		object.union(testing.source("named", "tool_result", "mail/read"), {"pointed_at": true, "given": true}),
	],
})

# METADATA
# description: The same scene without sources that may not steer.
among_ourselves(document) := testing.but(document, {"sources": [testing.prompt]})

# METADATA
# description: A value of an argument, seen in places.
value(argument, shape, text, found) := {
	"pointer": concat("", ["/", argument]),
	"argument": argument,
	"shape": shape,
	"embedded": false,
	"value": text,
	"named": false,
	"found": found,
}

# METADATA
# description: The same value, as a reference inside the argument.
inside(held) := object.union(held, {"embedded": true})

# METADATA
# description: The same value, of which the human said every word.
spoken(held) := object.union(held, {"named": true})

# METADATA
# description: Ways in which a source has a value.
field(source) := {"source": source, "form": "field", "prose": false, "bound": false}

line(source) := {"source": source, "form": "line", "prose": false, "bound": false}

prose(source) := {"source": source, "form": "text", "prose": true, "bound": false}

both(source) := {"source": source, "form": "field", "prose": true, "bound": false}

bound(seen) := object.union(seen, {"bound": true})

# METADATA
# description: What a rule finds in a document with these tables.
facts(text, sources) := array.concat(
	[{"pointer": concat("", ["/plan/steps/0/arguments/", text[0]]), "value": text[1]}],
	[{"pointer": sprintf("/sources/%d/id", [place[source]]), "value": source} | some source in sources],
)

place := {"u1": 0, "mail": 1, "page": 2, "trip": 3, "staff": 4, "named": 5}
