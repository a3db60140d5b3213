# METADATA
# title: Documents about texts for tests
# description: |
#   Builds whole, valid documents about texts, and the screen table that goes with them. It is a test file: no bundle
#   carries it.
# scope: package
package aisecops.testing.texts

import data.aisecops.testing

# METADATA
# description: A valid document of the support agent with the given detections in one text.
document(direction, detections) := {
	"schema_version": 1,
	"kind": "screen",
	"mode": "ENFORCE",
	"now": {"unix_seconds": 1767225600, "rfc3339": "2026-01-01T00:00:00Z"},
	"principal": {"id": "support", "authenticated_by": "mtls"},
	"trace": {"id": "trace-1"},
	"session": {"id": "session-1"},
	"direction": direction,
	"hash": "hash-1",
	"parts": [part("p1", detections)],
	"approvals": [],
}

# METADATA
# description: One text.
part(id, detections) := {
	"id": id,
	"kind": "user_prompt",
	"tool": "",
	"declared_trust": "",
	"characters": 100,
	"digest": "",
	"complete": true,
	"text": null,
	"detections": detections,
}

# METADATA
# description: A detection of a detector, at ten characters.
seen(detector) := {
	"detector": detector,
	"start": 10,
	"end": 20,
	"disguise": "",
	"quoted": false,
	"discussed": false,
	"excerpt": "",
}

# METADATA
# description: The same detection in quotation marks.
quoted(detection) := object.union(detection, {"quoted": true})

# METADATA
# description: Tables with what everybody's prompts and outputs mean.
tables := object.union(testing.tables, {"screen": {
	"everybody": {
		"prompt": {
			"injection.override": {"plain": "block", "quoted": "review"},
			"secret.jwt": {"plain": "redact", "quoted": "redact"},
			"personal.email": {"plain": "note", "quoted": "note"},
			"hidden.bidi": {"plain": "redact", "quoted": "redact"},
		},
		"output": {
			"injection.override": {"plain": "review", "quoted": "note"},
			"secret.jwt": {"plain": "block", "quoted": "block"},
			"personal.email": {"plain": "redact", "quoted": "redact"},
			"hidden.bidi": {"plain": "odd", "quoted": "odd"},
		},
	},
	"agents": {"triage": {"prompt": {"injection.override": {"plain": "note", "quoted": "note"}}}},
}})
