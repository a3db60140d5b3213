package aisecops.screen_test

import data.aisecops.decision
import data.aisecops.testing
import data.aisecops.testing.texts

decide(document) := answer if {
	answer := decision.decision with input as document with data.tables as texts.tables
}

clean := texts.document("prompt", [])

test_a_text_without_detections_is_allowed if {
	decide(clean) == {
		"outcome": "ALLOW",
		"findings": [],
		"steps": [{"id": "p1", "outcome": "ALLOW", "capability": "", "granted_by": "", "grant": ""}],
		"obligations": [],
		"sources": [{"id": "p1", "trust": "trusted"}],
		"risk_score_milli": 0,
		"charges": [],
		"mode": "enforce",
		"would_outcome": "ALLOW",
		"approval": null,
		"approved_by": "",
	}
}

test_every_document_without_a_needed_part_is_denied if {
	whole := texts.document("prompt", [texts.seen("personal.email")])
	needed := [
		"/schema_version", "/mode", "/hash", "/principal", "/principal/id", "/now", "/now/unix_seconds", "/direction",
		"/approvals", "/parts", "/parts/0/id", "/parts/0/kind", "/parts/0/tool", "/parts/0/declared_trust", "/parts/0/characters",
		"/parts/0/complete", "/parts/0/detections", "/parts/0/detections/0/detector", "/parts/0/detections/0/start",
		"/parts/0/detections/0/end",
	]
	every pointer in needed {
		every answer in [
			decide(json.remove(whole, [pointer])),
			decide(json.patch(whole, [{"op": "replace", "path": pointer, "value": null}])),
			decide(json.patch(whole, [{"op": "replace", "path": pointer, "value": {}}])),
		] {
			answer.outcome == "DENY"
			answer.would_outcome == "DENY"
			{found.rule | some found in answer.findings} <= {"screen.malformed", "screen.screening_incomplete"}
		}
	}
}

test_a_document_without_texts_is_denied if {
	answer := decide(testing.but(clean, {"parts": []}))
	answer.outcome == "DENY"
	answer.steps == []
}

test_another_kind_of_document_is_no_text if {
	answer := decide(testing.but(clean, {"kind": "scream"}))
	answer.outcome == "DENY"
	[found.rule | some found in answer.findings] == ["plan.malformed"]
}

test_an_unknown_agent_is_denied_whatever_it_says if {
	answer := decide(testing.from_stranger(clean))
	answer.outcome == "DENY"
	[found.rule | some found in answer.findings] == ["identity.agent_unregistered"]
}

test_what_has_to_be_redacted_is_said_by_place if {
	answer := decide(texts.document("prompt", [texts.seen("secret.jwt"), texts.seen("hidden.bidi")]))
	answer.outcome == "ALLOW"
	answer.obligations == [{"kind": "redact", "step": "p1", "parameters": {"ranges": [
		{"start": 10, "end": 20, "replacement": "[secret.jwt]"},
		{"start": 10, "end": 20, "replacement": ""},
	]}}]
}

test_one_blocked_text_blocks_all_and_the_others_are_told_apart if {
	asked := testing.but(clean, {"parts": [
		texts.part("p1", []),
		texts.part("p2", [texts.seen("injection.override")]),
		texts.part("p3", [texts.quoted(texts.seen("injection.override"))]),
	]})
	answer := decide(asked)
	answer.outcome == "DENY"
	[step.outcome | some step in answer.steps] == ["ALLOW", "DENY", "REQUIRE_APPROVAL"]
	answer.approval == null
}

test_a_review_says_what_it_takes if {
	answer := decide(texts.document("prompt", [texts.quoted(texts.seen("injection.override"))]))
	answer.outcome == "REQUIRE_APPROVAL"
	answer.approval.steps == ["p1"]
	answer.approval.approvers_required == 1
}

test_without_a_table_everything_that_was_seen_blocks if {
	answer := decision.decision with input as texts.document("prompt", [texts.seen("personal.email")])
		with data.tables as testing.tables
	answer.outcome == "DENY"
	allowed := decision.decision with input as clean with data.tables as testing.tables
	allowed.outcome == "ALLOW"
}

test_without_tables_nothing_is_allowed if {
	answer := decision.decision with input as clean with data.tables as {}
	answer.outcome == "DENY"
}

test_what_is_only_observed_blocks_and_redacts_nothing if {
	tables := object.union(texts.tables, {"modes": {"rules": {"screen": "observe"}}})
	asked := texts.document("prompt", [texts.seen("injection.override"), texts.seen("secret.jwt")])
	answer := decision.decision with input as asked with data.tables as tables
	answer.outcome == "ALLOW"
	answer.would_outcome == "DENY"
	answer.obligations == []
	{found.effect | some found in answer.findings} == {"warn"}
}

test_a_tools_result_is_trusted_as_its_tool if {
	result := object.union(texts.part("p1", []), {"kind": "tool_result", "tool": "web/fetch"})
	answer := decide(testing.but(clean, {"parts": [result]}))
	answer.sources == [{"id": "p1", "trust": "external"}]
}

test_a_plan_that_calls_itself_a_text_is_no_plan if {
	answer := decide(object.union(testing.one("crm/read", {"id": "c-1"}), {"kind": "screen"}))
	answer.outcome == "DENY"
	[found.rule | some found in answer.findings] == ["screen.malformed"]
}

review := {
	"id": "apr-1",
	"plan_hash": "hash-1",
	"approvers": ["bob"],
	"expires_at_seconds": 1767225601,
	"tool_digests": {},
	"revision": "r",
	"findings": [{"rule": "screen.instructions_injected", "step": "p1"}],
}

reviewable := texts.document("prompt", [texts.quoted(texts.seen("injection.override"))])

test_a_review_lets_pass_what_was_seen if {
	answer := decide(testing.but(reviewable, {"approvals": [review]}))
	answer.outcome == "ALLOW"
	answer.approved_by == "apr-1"
	answer.approval == null
	{found.effect | some found in answer.findings} == {"warn"}
}

test_a_review_of_something_else_lets_nothing_pass if {
	every parts in [
		{"plan_hash": "hash-2"}, {"expires_at_seconds": 1767225600}, {"approvers": []}, {"approvers": ["support"]},
		{"findings": []}, {"findings": [{"rule": "screen.secret_exposed", "step": "p1"}]},
		{"findings": [{"rule": "screen.instructions_injected", "step": "p2"}]},
	] {
		answer := decide(testing.but(reviewable, {"approvals": [object.union(review, parts)]}))
		answer.outcome == "REQUIRE_APPROVAL"
		answer.approved_by == ""
	}
}

test_a_review_lifts_no_denial if {
	asked := testing.but(texts.document("prompt", [texts.seen("injection.override")]), {"approvals": [review]})
	decide(asked).outcome == "DENY"
}
