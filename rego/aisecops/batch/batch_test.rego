package aisecops.batch_test

import data.aisecops.batch
import data.aisecops.decision
import data.aisecops.testing

documents := [
	testing.one("crm/read", {"id": "c-1"}),
	testing.from_stranger(testing.one("crm/read", {"id": "c-1"})),
	{},
	testing.one("crm/delete", {"id": "c-1"}),
]

test_every_item_gets_the_decision_that_it_would_get_alone if {
	alone := [answer |
		some document in documents
		answer := decision.decision with input as document with data.tables as testing.tables
	]
	batch.decisions == alone with input as {"items": documents} with data.tables as testing.tables
	[answer.outcome | some answer in alone] == ["ALLOW", "DENY", "DENY", "REQUIRE_APPROVAL"]
}

test_no_items_get_no_decisions if {
	batch.decisions == [] with input as {"items": []}
}
