# METADATA
# title: Screening
# description: What is seen in texts has a consequence where it is dangerous.
# scope: package
package conftest.screen

import data.conftest.lib.tables

screen := tables.table("screen")

# METADATA
# description: Words that steer a model are not merely noted where others write them.
deny contains message if {
	some holder, directions in holders
	some direction in {"input", "tool_result"}
	directions[direction].injection in {"note", "redact"}
	message := tables.said(
		array.concat([tables.path("screen")], array.concat(split(holder, " "), [direction])),
		[
			"screen.injection",
			sprintf("%s %s", [holder, direction]),
			sprintf("instructions that stand in %s are let through", [told[direction]]),
			"Write 'injection: block', or review",
		],
	)
}

# METADATA
# description: Secrets do not leave.
deny contains message if {
	some holder, directions in holders
	directions.output.secret == "note"
	message := tables.said(
		array.concat([tables.path("screen")], array.concat(split(holder, " "), ["output"])),
		[
			"screen.secret",
			sprintf("%s output", [holder]),
			"secrets that a model says are passed on",
			"Write 'secret: redact', or block",
		],
	)
}

holders["everybody"] := screen.everybody

holders[sprintf("agents %s", [agent])] := directions if {
	some agent, directions in screen.agents
}

told := {"input": "documents and memories", "tool_result": "what tools return"}
