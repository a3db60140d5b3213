from __future__ import annotations

from typing import Any

import pytest
from aisecops_server.domain.compliance.compliance import Coverage, Framework, chosen, read_frameworks, unknown_mappings
from aisecops_server.domain.compliance.compliance_page import markdown, page
from aisecops_server.domain.compliance.compliance_state import (
    Found,
    RequirementState,
    Shown,
    Sighting,
    Standing,
    judged,
    report_json,
)
from aisecops_server.domain.errors import BundleRejectedError, NotFoundError

ROW = {"title": "T", "coverage": "full", "how": "So.", "scenarios": ["a case"], "checks": ["log.writable"]}
HOSTILE = "<script>alert(1)</script> | \u202e[x](javascript:alert(1)) `code`"


def file(row: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "framework": "f",
        "title": "F",
        "edition": "1",
        "publisher": "P",
        "source": "https://f.example/",
        "rules_named_by": "rows",
        "requirements": {"R1": row},
        **fields,
    }


def read(
    row: dict[str, Any], mappings: dict[str, tuple[str, ...]] | None = None, **fields: Any
) -> tuple[Framework, ...]:
    return read_frameworks({"compliance/f.yaml": file(row, **fields)}, mappings or {})


def found(**fields: Any) -> Found:
    given: dict[str, Any] = {
        "revision": "r",
        "digest": "d",
        "engine": "e",
        "rules": {"a.b"},
        "scenarios": {"a case": Shown("a case", Standing.PASSED, rules=("a.b",))},
        "checks": {"log.writable": Shown("log.writable", Standing.PASSED)},
        "sightings": {},
        **fields,
    }
    return Found(**given)


def state(row: dict[str, Any], **fields: Any) -> tuple[RequirementState, tuple[str, ...]]:
    [framework] = judged(read(row), found(**fields)).frameworks
    [result] = framework.requirements
    return result.state, result.problems


def test_a_requirement_holds_while_everything_that_it_names_passes() -> None:
    assert state({**ROW, "rules": ["a.b"], "events": ["decision.concluded"]}) == (RequirementState.HOLDS, ())


@pytest.mark.parametrize("name", ["scenarios", "checks"])
def test_one_failure_turns_it_whatever_else_passes(name: str) -> None:
    key = {"scenarios": "a case", "checks": "log.writable"}[name]
    failed = {name: {key: Shown(key, Standing.FAILED, "because")}}
    assert state(ROW, **failed) == (RequirementState.FAILS, (f"{key}: because",))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**ROW, "rules": ["a.gone"]}, "no rule a.gone"),
        ({**ROW, "rules": ["gone.*"]}, "no rule gone.*"),
        ({**ROW, "events": ["nothing.happened"]}, "nothing.happened"),
        ({**ROW, "scenarios": ["no such case"]}, "no scenario or check of that name"),
        ({**ROW, "checks": ["no.such_check"]}, "no scenario or check of that name"),
    ],
)
def test_a_name_that_nothing_has_turns_it(row: dict[str, Any], said: str) -> None:
    what, problems = state(row)
    assert what is RequirementState.FAILS
    assert said in problems[0]


def test_what_was_not_run_is_not_said_to_hold_and_a_failure_counts_first() -> None:
    not_run = {"checks": {"log.writable": Shown("log.writable", Standing.NOT_RUN)}}
    assert state(ROW, **not_run)[0] is RequirementState.NOT_CHECKED
    failed = {"scenarios": {"a case": Shown("a case", Standing.FAILED, "x")}}
    assert state(ROW, **not_run, **failed)[0] is RequirementState.FAILS


def test_a_requirement_that_is_not_covered_says_so_whatever_runs() -> None:
    assert state({"title": "T", "coverage": "none", "gap": "Not ours."})[0] is RequirementState.NOT_COVERED


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"title": "T", "coverage": "none"}, "gap"),
        ({"title": "T", "coverage": "none", "gap": "g", "how": "So."}, "nothing can show it"),
        ({"title": "T", "coverage": "none", "gap": "g", "scenarios": ["a case"]}, "nothing can show it"),
        ({"title": "T", "coverage": "partial", "how": "So.", "scenarios": ["a case"]}, "gap"),
        ({"title": "T", "coverage": "full", "how": "So."}, "can fail"),
        ({"title": "T", "coverage": "full", "how": "So.", "rules": ["a.b"], "events": ["x.y"]}, "can fail"),
        ({"title": "T", "coverage": "full", "scenarios": ["a case"]}, "say how"),
        ({**ROW, "coverage": "mostly"}, "coverage"),
        ({**ROW, "scenario": ["a case"]}, "no such field"),
        ({**ROW, "title": ""}, "title"),
    ],
)
def test_a_row_that_claims_without_showing_is_refused(row: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleRejectedError) as refused:
        read(row)
    assert said in refused.value.message
    assert "compliance/f.yaml" in refused.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "http://f.example/"},
        {"source": "javascript:alert(1)"},
        {"framework": "Not An Id"},
        {"framework": "another"},
        {"rules_named_by": "metadata", "requirements": {"R1": {**ROW, "rules": ["a.b"]}}},
        {"requirements": {"../R1": ROW}},
        {"requirements": {f"R{number}": ROW for number in range(501)}},
        {"requirements": []},
    ],
)
def test_a_file_that_is_no_mapping_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BundleRejectedError):
        read(ROW, **fields)


def test_rules_come_from_their_metadata_or_from_the_rows_and_never_from_both() -> None:
    mappings = {"a.b": ("f:R1", "f:R9"), "a.c": ("g:R1",), "b.c": ("f:R1",)}
    [by_metadata] = read(ROW, mappings, rules_named_by="metadata")
    [by_rows] = read({**ROW, "rules": ["a.*"]}, mappings)
    assert by_metadata.requirements[0].rules == ("a.b", "b.c")
    assert by_rows.requirements[0].rules == ("a.b", "a.c")
    assert list(unknown_mappings((by_metadata,), mappings)) == [("a.b", "f:R9"), ("a.c", "g:R1")]


def test_rules_that_no_scenario_of_the_row_sets_off_are_told() -> None:
    [framework] = judged(read({**ROW, "rules": ["a.b", "a.c"]}), found(rules={"a.b", "a.c"})).frameworks
    assert framework.requirements[0].unshown == ("a.c",)


def test_a_framework_that_is_not_mapped_is_named_with_those_that_are() -> None:
    frameworks = read(ROW)
    assert chosen(frameworks, "") == chosen(frameworks, "f") == frameworks
    with pytest.raises(NotFoundError) as missing:
        chosen(frameworks, "g")
    assert "f" in missing.value.hint


def test_foreign_text_on_the_pages_runs_nothing_and_hides_nothing() -> None:
    row = {**ROW, "title": HOSTILE, "how": HOSTILE, "events": ["decision.concluded"]}
    sightings = {"decision.concluded": Sighting("decision.concluded", 3, 17)}
    report = report_json(judged(read(row, note=HOSTILE), found(sightings=sightings, events_read=20)))
    shown, written = page([report]), markdown(report)
    assert "<script>" not in shown + written
    assert "\u202e" not in shown + written
    assert "[x](" not in written
    assert "default-src 'none'" in shown
    assert "last at 17" in shown
    cells = [line for line in written.splitlines() if line.startswith("| R1")]
    assert [line.replace("\\|", "").count("|") for line in cells] == [7]


def test_coverage_of_rows_is_kept() -> None:
    assert read(ROW)[0].requirements[0].coverage is Coverage.FULL
