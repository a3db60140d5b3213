package aisecops.lib.provenance_test

import data.aisecops.lib.provenance
import data.aisecops.testing
import data.aisecops.testing.scene

judged(tool, words, values) := found if {
	found := provenance.judged with input as scene.scene(tool, words, values) with data.tables as scene.tables
}

class(value) := judged("mail/send", ["send"], [value])[0].class

role(value) := judged("wiki/edit", ["edit"], [value])[0].role

to(found) := scene.value("to", "email", "ann@corp.example", found)

test_a_value_of_the_human_is_vouched_for if class(to([scene.prose("u1")])) == "vouched"

test_a_field_of_our_own_records_is_vouched_for if class(to([scene.field("staff"), scene.prose("page")])) == "vouched"

test_a_field_of_a_believed_record_is_recorded if class(to([scene.field("mail")])) == "recorded"

test_a_field_that_prose_names_is_contested if class(to([scene.both("mail")])) == "contested"

test_prose_is_dictation if class(to([scene.prose("page")])) == "dictated"

test_prose_that_the_human_pointed_at_is_quoted if class(to([scene.prose("named")])) == "quoted"

test_prose_about_somebody_whom_the_human_named_is_introduced if {
	class(scene.spoken(to([scene.prose("named")]))) == "introduced"
}

test_a_page_that_only_has_words_of_the_human_introduces_nobody if {
	asked := testing.but(scene.scene("mail/send", ["send"], [scene.spoken(to([scene.prose("named")]))]), {"sources": [source |
		some held in scene.scene("mail/send", [], []).sources
		source := object.union(held, {"given": false})
	]})
	judged := provenance.judged with input as asked with data.tables as scene.tables
	judged[0].class == "quoted"
}

test_nowhere_is_unseen if class(to([])) == "unseen"

test_a_source_that_the_plan_does_not_list_has_no_say if class(to([scene.field("ghost")])) == "dictated"

test_external_structure_is_believed_for_names_only if {
	judged("mail/send", ["send"], [scene.value("to", "word", "porto", [scene.field("trip")])])[0].class == "recorded"
	class(to([scene.field("trip")])) == "quoted"
}

test_the_callers_own_label_lowers_trust_and_never_raises_it if {
	document := scene.scene("mail/send", ["send"], [to([scene.prose("page")])])
	raised := testing.but(document, {"sources": [relabelled(source, "trusted") | some source in document.sources]})
	lowered := testing.but(document, {"sources": [relabelled(source, "unverified") | some source in document.sources]})
	provenance.judged[0].class == "dictated" with input as raised with data.tables as scene.tables
	count(provenance.untrusted) == 6 with input as lowered with data.tables as scene.tables
}

relabelled(source, trust) := object.union(source, {"declared_trust": trust})

test_the_table_says_what_an_argument_is if judged("mail/send", ["send"], [to([])])[0].role == "destination"

test_else_the_name_says_it if {
	role(scene.value("mainRecipient", "word", "ann", [])) == "destination"
	role(scene.value("page_id", "number", "7", [])) == "object"
}

test_else_the_shape_says_it if {
	role(scene.value("x", "iban", "de02", [])) == "destination"
	role(scene.value("x", "word", "ann", [])) == "object"
}

test_settings_and_content_are_not_judged if {
	judged("wiki/edit", ["edit"], [scene.value("startDay", "number", "7", [])]) == []
	judged("wiki/edit", ["edit"], [scene.value("title", "phrase", "a b", [])]) == []
	judged("wiki/edit", ["edit"], [scene.value("x", "text", "a b. c", [])]) == []
	judged("wiki/edit", ["edit"], [scene.value("x", "number", "7", [])]) == []
}

test_reading_is_not_judged if judged("mail/read", ["send"], [to([])]) == []

test_a_grave_tool_whose_name_concerns_nothing_is_not_held_to_it if {
	provenance.about({"entry": {"effect": "delete", "concerns": {}}, "step": {"values": []}})
	not provenance.about({"entry": {"effect": "delete", "concerns": {"mail": true}}, "step": {"values": []}})
		with input as scene.scene("mail/delete", ["delete"], [])
}
