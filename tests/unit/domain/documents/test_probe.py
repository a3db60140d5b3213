"""Probes are real input documents, and only a denial of this revision passes."""

from __future__ import annotations

import json

import pytest
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.documents.input_document import InputDocument
from aisecops_server.domain.documents.probe import (
    MAX_KNOWN_TOOLS,
    UNKNOWN_PRINCIPAL,
    probes,
    require_denied,
    require_not_allowed,
    text_probe,
)
from aisecops_server.domain.errors import BundleRejectedError, EngineUnavailableError, NoDecisionError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.screening.screen_document import ScreenDocument

from tests.fakes.policies import DENIAL, answer
from tests.fakes.verdicts import whole

REVISION = "a" * 40


def verdict(result: object, revision: str = REVISION) -> Verdict:
    return Verdict(result, revision, "fake", 1)


@pytest.mark.parametrize("probe", probes(["mail/send"]), ids=lambda probe: probe.name)
def test_a_probe_is_a_well_formed_document_in_canonical_bytes(probe):
    document = InputDocument.model_validate_json(probe.document)
    assert [step.id for step in document.plan.steps] == list(probe.step_ids)
    assert canonical_bytes(json.loads(probe.document)) == probe.document
    assert document.principal.id in ("", UNKNOWN_PRINCIPAL)


def test_known_tools_are_asked_for_and_there_is_a_bound_on_them():
    tools = [f"server/tool{n}" for n in range(1000)]
    asked = {json.loads(probe.document)["plan"]["steps"][0]["tool"] for probe in probes(tools)}
    assert MAX_KNOWN_TOOLS // 2 < len(asked & set(tools)) <= MAX_KNOWN_TOOLS


def test_every_probe_is_told_apart_by_its_name():
    names = [probe.name for probe in probes(["a/b", "c/d"])]
    assert len(set(names)) == len(names)


def test_a_denial_of_this_revision_passes():
    passed = []
    for probe in probes():
        require_denied(probe, verdict(answer(probe.document)), revision=REVISION)
        passed.append(probe.name)
    assert len(passed) == len(probes())


@pytest.mark.parametrize(
    "given",
    [
        lambda document: verdict(answer(document, "ALLOW")),
        lambda document: verdict(None),
        lambda document: verdict(True),
        lambda document: verdict({}),
        lambda document: verdict([]),
        lambda document: verdict({**answer(document), "outcome": "deny"}),
        lambda document: verdict({**answer(document), "steps": []}),
        lambda document: verdict(answer(document), "b" * 40),
        lambda document: verdict(answer(document), ""),
        lambda document: NoDecisionError("a conflict"),
    ],
)
def test_anything_else_names_the_probe_and_the_revision(given):
    probe = probes()[0]
    with pytest.raises(BundleRejectedError, match="an unknown agent calls") as refused:
        require_denied(probe, given(probe.document), revision=REVISION)
    assert refused.value.metadata()["revision"] == REVISION


def test_no_answer_at_all_says_nothing_about_the_revision():
    with pytest.raises(EngineUnavailableError, match="no answer"):
        require_denied(probes()[0], EngineUnavailableError("no answer"), revision=REVISION)


def test_an_approval_is_no_denial():
    probe = probes()[0]
    held = "REQUIRE_APPROVAL"
    finding = {**DENIAL, "effect": "require_approval"}
    result = whole({"outcome": held, "findings": [finding], "steps": [{"id": "s1", "outcome": held}]})
    with pytest.raises(BundleRejectedError, match="only DENY is right"):
        require_denied(probe, verdict(result), revision=REVISION)


def test_the_probe_about_a_text_is_a_well_formed_document_in_canonical_bytes():
    probe = text_probe()
    document = ScreenDocument.model_validate_json(probe.document)
    assert [part.id for part in document.parts] == list(probe.step_ids)
    assert canonical_bytes(json.loads(probe.document)) == probe.document


@pytest.mark.parametrize(
    "given",
    [verdict(answer(text_probe().document)), verdict(None), verdict({}), NoDecisionError("undefined")],
    ids=["denied", "undefined", "empty", "no decision"],
)
def test_a_denial_of_a_text_passes_and_so_does_having_no_answer(given):
    assert require_not_allowed(text_probe(), given, revision=REVISION) is None


def test_a_text_that_an_unknown_agent_may_use_fails_and_a_dead_engine_says_nothing():
    probe = text_probe()
    with pytest.raises(BundleRejectedError) as refused:
        require_not_allowed(probe, verdict(answer(probe.document, "ALLOW")), revision=REVISION)
    assert refused.value.metadata() == {"revision": REVISION, "probe": probe.name}
    with pytest.raises(EngineUnavailableError):
        require_not_allowed(probe, EngineUnavailableError("no answer"), revision=REVISION)
