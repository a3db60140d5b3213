# METADATA
# title: Batch
# description: |
#   Decides many documents in one query: `input.items` is an array of documents, the answer an array of
#   decisions of the same length and order. The document is bound before `with`, because the engine does not
#   resolve a reference inside it reliably.
# scope: package
package aisecops.batch

# METADATA
# title: Decisions
# description: One decision for each item.
# entrypoint: true
decisions := [decided |
	some item in input.items
	document := item
	decided := data.aisecops.decision.decision with input as document
]
