from __future__ import annotations

import json

import pytest
from aisecops_server.domain.documents.probe import probes
from aisecops_server.domain.replays.document_drift import has_other_version, is_masked, missing_fields, read_by


def document() -> dict[str, object]:
    return json.loads(probes()[0].document)


def test_a_document_of_today_lacks_nothing():
    assert missing_fields(document()) == ()
    assert not has_other_version(document())


def test_what_an_older_version_did_not_write_is_named_wherever_it_is_missing():
    old = document()
    del old["usage"], old["plan"]["steps"][0]["values"]
    assert missing_fields(old) == ("/plan/steps/*/values", "/usage")


def test_an_empty_part_lacks_what_it_must_have():
    old = document()
    old["grounding"], old["now"] = {}, None
    assert missing_fields(old) == ("/grounding/complete", "/grounding/truncated", "/grounding/unsearched")


@pytest.mark.parametrize("place", ["sources", "history", "approvals"])
def test_an_entry_that_lacks_a_field_is_named_although_those_around_it_are_whole(place: str) -> None:
    entry = {
        "sources": dict.fromkeys(
            [
                "content_known",
                "declared_trust",
                "digest",
                "digest_verified",
                "given",
                "id",
                "kind",
                "name",
                "origin_uri",
                "pointed_at",
                "size",
                "step_id",
                "tool",
            ]
        ),
        "history": dict.fromkeys(["observed", "step_id", "tool"]),
        "approvals": {
            **dict.fromkeys(["approvers", "expires_at_seconds", "id", "plan_hash", "revision", "tool_digests"]),
            "findings": [{"rule": "r", "step": "s"}, {"rule": "r", "step": "s"}],
        },
    }[place]
    whole = document() | {place: [entry, dict(entry), entry]}
    assert missing_fields(whole) == ()
    for name in entry:
        whole[place][1] = {other: value for other, value in entry.items() if other != name}
        assert missing_fields(whole) == (f"/{place}/*/{name}",)


def test_an_entry_of_an_entry_that_lacks_a_field_is_named() -> None:
    old = document()
    old["approvals"] = [
        dict.fromkeys(("approvers", "expires_at_seconds", "id", "plan_hash", "revision", "tool_digests"))
        | {"findings": [{"rule": "r", "step": "s"}, {"rule": "r"}]}
    ]
    assert missing_fields(old) == ("/approvals/*/findings/*/step",)


def test_only_what_the_policy_mentions_matters():
    fields = ("/delegation/*/verified", "/usage/tokens")
    assert read_by({"usage", "tokens"}, fields) == ("/usage/tokens",)
    assert read_by(set(), fields) == ()


def test_a_document_of_another_schema_is_told_from_ours():
    assert has_other_version({"schema_version": 2})
    assert has_other_version({})
    assert has_other_version("text")


def test_a_masked_value_is_found_however_deep():
    assert is_masked({"a": [{"b": {"$masked": "c0ffee"}}]})
    assert not is_masked({"a": ["$masked"]})
