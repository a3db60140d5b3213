package aisecops.lib_test

import data.aisecops.lib
import data.aisecops.testing

sourced(sources) := testing.but(testing.one("crm/read", {"id": "c-1"}), {"sources": sources})

ranks(sources) := found if {
	found := lib.source_ranks with input as sourced(sources) with data.tables as testing.tables
}

labelled(id, kind, label) := object.union(testing.source(id, kind, ""), {"declared_trust": label})

test_a_source_is_trusted_by_its_kind_and_a_result_by_its_tool if {
	ranks([
		testing.source("a", "user_prompt", ""), testing.source("b", "memory", ""),
		testing.source("c", "tool_result", "web/fetch"), testing.source("d", "tool_result", "crm/read"),
		testing.source("e", "tool_result", "no/where"), testing.source("f", "rumour", ""),
	]) == {"a": 0, "b": 1, "c": 2, "d": 1, "e": 3, "f": 3}
}

test_a_label_lowers_trust_and_never_raises_it if {
	ranks([
		labelled("a", "user_prompt", "external"), labelled("b", "retrieval_chunk", "trusted"),
		labelled("c", "memory", "unheard"), labelled("d", "memory", "internal"),
	]) == {"a": 2, "b": 2, "c": 3, "d": 1}
}

test_a_plan_is_as_trusted_as_the_worst_of_its_sources if {
	asked := sourced([testing.prompt, testing.source("w", "tool_result", "web/fetch")])
	lib.lowest_rank == 2 with input as asked with data.tables as testing.tables
	lib.lowest_rank == 3 with input as sourced([]) with data.tables as testing.tables
}

test_sources_that_share_an_id_make_the_document_malformed if {
	twice := [testing.source("a", "memory", ""), testing.source("a", "memory", "")]
	not lib.valid with input as sourced(twice) with data.tables as testing.tables
}

test_a_pointer_escapes_what_rfc_6901_escapes if {
	lib.text_pointer({"index": 2, "path": ["a/b", 0, "c~d"]}) == "/plan/steps/2/arguments/a~1b/0/c~0d"
}
