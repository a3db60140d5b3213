from __future__ import annotations

import io
import re

import pytest
from aisecops_server.domain.display.words import ALLOWED, BLOCKED, ESCALATED, GATES, NOT_REACHED, WARNED
from aisecops_server.terminal.consoles import make_console
from aisecops_server.terminal.decisions import because, decision_block, sources_table, verdict
from aisecops_server.terminal.gates import gate_signs, gate_strip
from aisecops_server.terminal.lists import check_table, facet_table, trace_table
from aisecops_server.terminal.places import Place, pieces
from aisecops_server.terminal.revisions import status_block
from rich.console import Console, RenderableType

DECISION = {
    "outcome": "OUTCOME_DENY",
    "mode": "MODE_ENFORCE",
    "principal": {"id": "spiffe://corp.example/agent/support-assistant"},
    "bundleRevision": "8e0e6ff75411f409b580b9f0131a6272124fe759",
    "explanation": "Denied by provenance.destination_dictated at email/send: it stands in untrusted text only.",
    "steps": [
        {"stepId": "list", "outcome": "OUTCOME_ALLOW", "capability": "customer.read"},
        {"stepId": "send", "outcome": "OUTCOME_DENY", "capability": ""},
    ],
    "findings": [
        {
            "rule": "provenance.destination_dictated",
            "message": "An address stands in untrusted text only.",
            "effect": "EFFECT_DENY",
            "severity": "critical",
            "stepId": "send",
            "remedy": "Use an address that the human gave.",
            "facts": [{"pointer": "/plan/steps/1/arguments/to", "valueJson": '"x@y.example"'}],
            "location": {"file": "rego/aisecops/rules/provenance/destination_dictated.rego", "line": 13},
        },
        {"rule": "budget.near_limit", "message": "Close.", "effect": "EFFECT_WARN", "stepId": ""},
    ],
    "sources": [
        {"sourceId": "s1", "kind": "SOURCE_KIND_TOOL_RESULT", "trust": "TRUST_LEVEL_EXTERNAL", "name": "ticket"},
        {"sourceId": "s2", "kind": "SOURCE_KIND_RETRIEVAL_CHUNK", "trust": "", "verified": True},
    ],
}
TOOLS = {"list": "crm/find_customer", "send": "email/send"}
EVERYTHING = set(GATES.values()) - {"approval"}


def drawn(body: RenderableType, *, width: int = 80, encoding: str = "utf-8", color: str = "never") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console = make_console(stream, color=color)
    console.width = width
    console.print(body)
    stream.flush()
    return raw.getvalue().decode(encoding)


def plain(width: int = 80) -> Console:
    console = make_console(io.StringIO(), color="never")
    console.width = width
    return console


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_decision_fits_the_terminal_and_says_outcome_rule_reason_place_and_revision(width: int) -> None:
    shown = drawn(decision_block(plain(width), DECISION, tools=TOOLS), width=width)
    flat = " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= width
    for part in (
        "✕ blocked",
        "policy 8e0e6ff7",
        "asked by spiffe://corp.example/agent/support-assistant",
        "by provenance.destination_dictated at email/send",
        "provenance.destination_dictated",
        "An address stands in untrusted text only.",
        "mend: Use an address that the human gave.",
        "destination_dictated.rego:13",
        "tool result · external",
        "retrieval · unverified",
    ):
        assert part in flat


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_first_line_holds_what_decided_where_there_is_room_and_never_breaks_it(width: int) -> None:
    lines = drawn(decision_block(plain(width), DECISION, tools=TOOLS), width=width).splitlines()
    title = "by provenance.destination_dictated at email/send"
    assert lines[0].startswith("✕ blocked")
    assert lines[0].endswith("policy 8e0e6ff7")
    assert (title in lines[0]) == (len("✕ blocked  policy 8e0e6ff7") + len(title) <= width)
    assert title in lines[0] or lines[1].strip() == title


def test_the_first_line_counts_the_other_findings_that_decided_and_no_warnings() -> None:
    findings = [*DECISION["findings"], {"rule": "capability.missing", "effect": "EFFECT_DENY", "stepId": ""}]
    assert because({**DECISION, "findings": findings}, TOOLS).endswith(" at email/send, and 1 more")


def test_an_allowed_plan_keeps_its_own_sentence() -> None:
    allowed = {**DECISION, "outcome": "OUTCOME_ALLOW", "findings": DECISION["findings"][1:], "explanation": "Allowed."}
    assert because(allowed, TOOLS) == "Allowed."


def test_a_path_that_is_too_long_is_broken_after_a_slash() -> None:
    shown = drawn(Place("rego/aisecops/rules/budget/spent/spent.rego:13", "rule at "), width=40)
    assert shown == "rule at rego/aisecops/rules/budget/\n        spent/spent.rego:13\n"
    assert list(pieces("a-name-without-any-slash.rego:1", 10)) == ["a-name-without-any-slash.rego:1"]


def test_without_colour_nothing_but_text_is_written() -> None:
    assert "\x1b" not in drawn(decision_block(plain(), DECISION, tools=TOOLS))


def test_with_colour_the_words_and_glyphs_are_still_there() -> None:
    shown = drawn(decision_block(plain(), DECISION, tools=TOOLS), color="always")
    assert "\x1b[" in shown
    assert "✕ blocked" in re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_a_stream_without_unicode_gets_plain_glyphs() -> None:
    console = make_console(io.TextIOWrapper(io.BytesIO(), encoding="ascii"), color="never")
    assert verdict(console, DECISION).plain == "x blocked"


def test_a_dry_run_says_so_and_what_it_would_have_been() -> None:
    assert verdict(plain(), {**DECISION, "mode": "MODE_DRY_RUN"}).plain == "◌ dry-run (would be blocked)"


def test_an_unknown_outcome_is_never_shown_as_allowed() -> None:
    assert verdict(plain(), {"outcome": "OUTCOME_FINE", "mode": "MODE_ENFORCE"}).plain == "! error"


def test_each_gate_shows_what_its_rules_found() -> None:
    signs = gate_signs(DECISION, DECISION["steps"][1], EVERYTHING)
    assert signs == {
        "plan": ALLOWED,
        "identity": ALLOWED,
        "capability": ALLOWED,
        "policy": BLOCKED,
        "mcp": ALLOWED,
        "budget": WARNED,
        "approval": NOT_REACHED,
        "outcome": BLOCKED,
    }


def test_a_finding_of_another_step_is_not_this_steps() -> None:
    signs = gate_signs(DECISION, DECISION["steps"][0], EVERYTHING)
    assert (signs["policy"], signs["budget"], signs["outcome"]) == (ALLOWED, WARNED, ALLOWED)


def test_a_gate_without_a_record_was_not_reached() -> None:
    signs = gate_signs({"findings": []}, {"stepId": "a", "outcome": "OUTCOME_ALLOW"}, {"plan_extraction"})
    assert signs == {gate: ALLOWED if gate == "plan" else NOT_REACHED for gate in GATES}


def test_an_approval_that_is_asked_for_stands_at_its_gate() -> None:
    step = {"stepId": "a", "outcome": "OUTCOME_REQUIRE_APPROVAL"}
    assert gate_signs({"findings": []}, step, set(GATES.values()))["approval"] is ESCALATED


@pytest.mark.parametrize(("width", "words"), [(80, False), (140, True)])
def test_the_strip_has_words_where_there_is_room(width: int, *, words: bool) -> None:
    console = plain(width)
    shown = drawn(gate_strip(console, DECISION, tools=TOOLS, reached=EVERYTHING), width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert all(gate in shown for gate in GATES)
    assert all(name in shown for name in (*TOOLS, *TOOLS.values()))
    assert (shown.count("✓ allowed") > 4) is words


def test_a_list_of_traces_fits_eighty_columns_and_keeps_ids_whole() -> None:
    trace = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "agentId": "spiffe://corp.example/agent/support-assistant",
        "outcome": "REQUIRE_APPROVAL",
        "mode": "DRY_RUN",
        "rules": ["approval.amount_over_limit"],
        "lowestTrust": "external",
        "bundleRevision": DECISION["bundleRevision"],
        "lastAt": "2026-11-23T17:10:14Z",
    }
    shown = drawn(trace_table(plain(), [trace], lambda text: text.replace("T", " ")))
    assert max(map(len, shown.rstrip().splitlines())) <= 80
    assert shown.splitlines()[0].rstrip().endswith("8e0e6ff7")
    for part in ("0af7651916cd43dd8448eb211c80319c", "▲ escalated", "dry-run", "support-assistant", "external"):
        assert part in shown


def test_a_skipped_check_is_shown_as_skipped() -> None:
    rows = [{"name": "log", "state": "skipped", "detail": "there is none", "mend": "make one"}]
    shown = drawn(check_table(plain(), rows))
    assert "· skipped" in shown
    assert "mend: make one" in shown


def test_a_digest_that_was_only_declared_is_told_from_content_that_was_hashed() -> None:
    shown = drawn(sources_table(DECISION))
    assert "digest declared" in shown
    assert "content hashed" in shown


@pytest.mark.parametrize(
    ("color", "variable", "colored"),
    [("auto", "", False), ("always", "1", True), ("never", "", False)],
)
def test_a_pipe_has_no_colour_unless_it_was_asked_for(
    color: str, variable: str, monkeypatch: pytest.MonkeyPatch, *, colored: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    assert ("\x1b[" in drawn(verdict(plain(), DECISION), color=color)) is colored


@pytest.mark.parametrize(("problem", "explained"), [("", True), ("data/tools.yaml:3: not YAML", False)])
def test_a_wanted_revision_that_is_not_live_says_why(problem: str, *, explained: bool) -> None:
    status = {"live": {"commit": "a" * 40, "state": "live"}, "wanted": "b" * 40, "problem": problem}
    shown = drawn(status_block(status, str))
    assert "wanted bbbbbbbb is not live" in shown
    assert ("by a rollback or an activation by name" in shown) is explained
    assert problem in shown


def test_values_stand_with_how_many_traces_have_them_and_what_is_no_whole_count_says_so() -> None:
    facets = [
        {"field": "outcome", "whole": True, "leftOut": 0, "values": [{"value": "DENY", "count": 3}]},
        {
            "field": "agent_id",
            "whole": False,
            "leftOut": 7,
            "values": [{"value": "[red]x\u202e", "count": 1200}, {"value": "b", "count": 1}],
        },
    ]
    shown = drawn(facet_table({"counted": 5000, "whole": False, "facets": facets}))
    lines = [line.split() for line in shown.splitlines()]
    assert ["all", "5,000+"] in lines
    assert ["outcome", "blocked", "3"] in lines
    assert any(line[0] == "agent" and line[1].startswith("[red]x") and line[-1] == "1,200+" for line in lines)
    assert ["and", "7", "more"] in lines
    assert "\u202e" not in shown
