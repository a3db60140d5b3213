# METADATA
# title: Gates
# description: What is let pass ends soon, and somebody other than its author answers for it.
# scope: package
package conftest.gates

import data.conftest.lib.tables

days := {"accepted-flips.yaml": 90, "waivers.yaml": 180}

# METADATA
# description: What is let pass does not stay for ever.
deny contains message if {
	some file, most in days
	some number, entry in tables.file(file)
	day(entry.expires) > day(tables.today) + (((most + 1) * 24) * 3600000000000)
	message := tables.said(
		[file],
		[
			"gates.long",
			subject(entry),
			sprintf("entry %d lasts until %s, more than %d days", [number + 1, entry.expires, most]),
			"Let it end sooner; what is meant for ever belongs into the policy itself",
		],
	)
}

# METADATA
# description: What is over is removed.
warn contains message if {
	some file, _ in days
	some number, entry in tables.file(file)
	entry.expires < tables.today
	message := tables.said(
		[file],
		["gates.over", subject(entry), sprintf("entry %d ended on %s", [number + 1, entry.expires]), "Remove it"],
	)
}

subject(entry) := entry.subject

subject(entry) := entry.rule if not entry.subject

day(text) := time.parse_ns("2006-01-02", text)
