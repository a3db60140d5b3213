"""Drafts become plans, or are refused by the name of the field."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.limits import LIMITS
from aisecops_server.domain.plans.plan import PastStep, StepId
from aisecops_server.domain.plans.plan_builder import (
    DelegateDraft,
    PastStepDraft,
    PlanDraft,
    SourceDraft,
    build_plan,
    plan_hash,
)
from aisecops_server.domain.plans.provenance import SourceKind, TrustLevel

from tests.unit.domain.drafts import DRAFT, FRESH, SOURCE, STEP

KIND = SourceKind.TOOL_RESULT


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def steps(**changes: object) -> PlanDraft:
    return replace(DRAFT, steps=(replace(STEP, **changes),))


def sources(**changes: object) -> PlanDraft:
    return replace(DRAFT, sources=(replace(SOURCE, **changes),))


def test_a_good_draft_becomes_a_plan_with_fresh_identifiers() -> None:
    plan = build_plan(DRAFT, FRESH)
    assert (plan.id, plan.trace_id) == ("plan-fresh", "f" * 32)
    assert plan.steps[0].arguments == {"to": "ada@example.org"}
    assert plan.sources[0].content == "Mail ada@example.org"
    assert plan.sources[0].digest == sha256(b"Mail ada@example.org")
    assert plan.sources[0].digest_verified


def test_identifiers_of_the_draft_are_kept() -> None:
    plan = build_plan(replace(DRAFT, plan_id="p:1", trace_id="a" * 32, session_id="chat-7"), FRESH)
    assert (plan.id, plan.trace_id, plan.session_id) == ("p:1", "a" * 32, "chat-7")


def test_a_step_that_names_no_influence_is_influenced_by_everything() -> None:
    draft = replace(DRAFT, sources=(SOURCE, SourceDraft(id="page", kind=KIND, content=b"x")))
    assert build_plan(draft, FRESH).steps[0].influenced_by == ("prompt", "page")


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (replace(DRAFT, steps=()), "steps"),
        (replace(DRAFT, steps=tuple(replace(STEP, id=f"s{n}") for n in range(65))), "steps"),
        (replace(DRAFT, steps=(STEP, STEP)), "steps[1].step_id"),
        (replace(DRAFT, intent="mail\0 ada"), "intent"),
        (sources(origin_uri="https://a.example/\0"), "sources[0].origin_uri"),
        (steps(id=""), "steps[0].step_id"),
        (steps(id="a b"), "steps[0].step_id"),
        (steps(id="a" * 65), "steps[0].step_id"),
        (steps(id="s\u0661"), "steps[0].step_id"),
        (steps(tool="send"), "steps[0].tool"),
        (steps(tool="/send"), "steps[0].tool"),
        (steps(tool="mail/"), "steps[0].tool"),
        (steps(tool="mail/a/b"), "steps[0].tool"),
        (steps(tool="mail/send\n"), "steps[0].tool"),
        (steps(capability="mail send"), "steps[0].capability"),
        (steps(arguments_json=b""), "steps[0].arguments_json"),
        (steps(arguments_json=b"[]"), "steps[0].arguments_json"),
        (steps(arguments_json=b'{"a":1,"a":2}'), "steps[0].arguments_json"),
        (steps(arguments_json=b'{"a":"' + b"x" * LIMITS.arguments_bytes + b'"}'), "steps[0].arguments_json"),
        (steps(depends_on=("s1",)), "steps[0].depends_on[0]"),
        (steps(depends_on=("later",)), "steps[0].depends_on[0]"),
        (steps(influenced_by=("prompt", "prompt")), "steps[0].influenced_by"),
        (steps(influenced_by=("prompt", "web")), "steps[0].influenced_by[1]"),
        (replace(DRAFT, sources=(SOURCE, SOURCE)), "sources[1].source_id"),
        (replace(DRAFT, sources=tuple(replace(SOURCE, id=f"s{n}") for n in range(257))), "sources"),
        (sources(kind=None), "sources[0].kind"),
        (sources(digest="0" * 64), "sources[0].digest"),
        (sources(digest=sha256(b"Mail ada@example.org").upper()), "sources[0].digest"),
        (sources(digest="abc"), "sources[0].digest"),
        (sources(content=b"\xff"), "sources[0].content"),
        (sources(content=b"x" * (LIMITS.source_bytes + 1)), "sources[0].content"),
        (sources(name="x" * 4097), "sources[0].name"),
        (sources(name="\ud800"), "sources[0].name"),
        (sources(tool="bare"), "sources[0].tool"),
        (sources(step_id="a/b"), "sources[0].step_id"),
        (replace(DRAFT, trace_id="A" * 32), "trace_id"),
        (replace(DRAFT, parent_trace_id="1"), "parent_trace_id"),
        (replace(DRAFT, plan_id="a/b"), "plan_id"),
        (replace(DRAFT, session_id="a/b"), "session_id"),
        (replace(DRAFT, environment="prod uction"), "environment"),
        (replace(DRAFT, intent="x" * 4097), "intent"),
        (replace(DRAFT, delegation=(DelegateDraft("agent a"),)), "delegation[0].agent_id"),
        (replace(DRAFT, delegation=(DelegateDraft("a", "zz"),)), "delegation[0].trace_id"),
        (replace(DRAFT, delegation=(DelegateDraft("a"),) * 17), "delegation"),
        (replace(DRAFT, history=(PastStepDraft("h", "bare"),)), "history[0].tool"),
        (replace(DRAFT, history=(PastStepDraft("", "a/b"),)), "history[0].step_id"),
        (replace(DRAFT, history=(PastStepDraft("h", "a/b"),) * 1025), "history"),
    ],
)
def test_a_spoiled_draft_is_refused_by_the_name_of_its_field(draft: PlanDraft, field: str) -> None:
    with pytest.raises(InvalidPlanError) as caught:
        build_plan(draft, FRESH)
    assert caught.value.metadata()["field"] == field
    assert caught.value.diagnostics().startswith(field)


def test_all_sources_together_are_bounded() -> None:
    big = tuple(replace(SOURCE, id=f"s{n}", content=b"x" * LIMITS.source_bytes) for n in range(4))
    with pytest.raises(InvalidPlanError, match="bytes in all"):
        build_plan(replace(DRAFT, sources=big), FRESH)


def test_a_source_known_by_digest_only_has_no_content_and_is_not_verified() -> None:
    source = build_plan(sources(content=None, digest="0" * 64), FRESH).sources[0]
    assert (source.content, source.digest, source.digest_verified) == (None, "0" * 64, False)


def test_the_digest_of_nothing_says_that_the_content_is_known_to_be_empty() -> None:
    source = build_plan(sources(content=None, digest=sha256(b"")), FRESH).sources[0]
    assert (source.content, source.digest_verified) == ("", True)


def test_a_declared_trust_is_kept_as_a_claim() -> None:
    assert build_plan(sources(declared_trust=TrustLevel.EXTERNAL), FRESH).sources[0].declared_trust == "external"


def test_only_the_control_plane_says_which_calls_it_observed() -> None:
    observed = (PastStep(StepId("s0"), "crm/read", observed=True),)
    draft = replace(steps(depends_on=("s0",)), history=(PastStepDraft("h1", "crm/find"),))
    plan = build_plan(draft, FRESH, observed=observed)
    assert [(past.id, past.observed) for past in plan.history] == [("h1", False), ("s0", True)]
    with pytest.raises(InvalidPlanError) as taken:
        build_plan(steps(id="s0"), FRESH, observed=observed)
    assert taken.value.metadata()["field"] == "steps[0].step_id"
    with pytest.raises(InvalidPlanError) as claimed:
        build_plan(replace(DRAFT, history=(PastStepDraft("s0", "crm/read"),)), FRESH, observed=observed)
    assert claimed.value.metadata()["field"] == "history[0].step_id"


def test_the_hash_covers_everything_that_would_be_executed() -> None:
    base = build_plan(DRAFT, FRESH)
    changed = [
        steps(id="s2"),
        steps(tool="mail/draft"),
        steps(capability="mail"),
        steps(arguments_json=b'{"to":"eve@example.org"}'),
        replace(DRAFT, steps=(STEP, replace(STEP, id="s2"))),
        replace(DRAFT, steps=(STEP, replace(STEP, id="s2", depends_on=("s1",)))),
        replace(DRAFT, environment="production"),
        replace(DRAFT, delegation=(DelegateDraft("boss"),)),
    ]
    hashes = {plan_hash(build_plan(draft, FRESH), "agent-a") for draft in changed}
    hashes |= {plan_hash(base, "agent-a"), plan_hash(base, "agent-b")}
    assert len(hashes) == len(changed) + 2


def test_the_hash_does_not_depend_on_words_about_the_plan_or_on_spelling() -> None:
    spelled = steps(arguments_json=b' { "to" : "\\u0061da@example.org" } ')
    same = [DRAFT, spelled, replace(DRAFT, intent="other"), replace(DRAFT, sources=()), replace(DRAFT, plan_id="p2")]
    assert len({plan_hash(build_plan(draft, FRESH), "agent-a") for draft in same}) == 1
