"""A policy repository as the product makes it passes its own checks, and each check says what to do where."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aisecops_server.adapters.system import SystemClock
from aisecops_server.domain.decisions.decision import Effect, Severity
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.policy.check_reports import MARKDOWN_BYTES, written
from aisecops_server.domain.policy.policy_check import CheckName, CheckReport, CheckResult, CheckState, Problem
from aisecops_server.domain.policy.rule_template import NewRule, rule_files

from tests.scenes.policy.policy_repositories import Clone, checked, errors, starter

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone.make(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def clone(origin: Clone, tmp_path: Path) -> Clone:
    return origin.again(tmp_path / "mine")


def test_what_init_makes_passes_every_check(clone: Clone) -> None:
    report = checked(clone.path, base="origin/main")
    assert [(result.name, result.state) for result in report.results] == [(name, CheckState.OK) for name in CheckName]
    assert [problem for result in report.results for problem in result.problems] == []


def test_what_was_checked_is_remembered_and_what_changed_is_checked(clone: Clone) -> None:
    checked(clone.path)
    again = checked(clone.path)
    assert all(result.remembered for result in again.results if result.state is not CheckState.SKIPPED)
    clone.write({"data/costs.yaml": clone.text("data/costs.yaml") + "# a word\n"})
    edited = {result.name: result.remembered for result in checked(clone.path).results}
    assert (edited[CheckName.TEST], edited[CheckName.CONFTEST], edited[CheckName.LINT]) == (True, False, True)


def test_a_new_rule_passes_as_it_is_written(clone: Clone) -> None:
    new = NewRule("ops/scale_down", Effect.REQUIRE_APPROVAL, Severity.HIGH, "site-reliability", "Scaling", "k8s/scale")
    clone.write(dict(rule_files(new)))
    report = checked(clone.path, base="origin/main")
    assert errors(report) == []
    facts = {result.name: result.facts for result in report.results}
    assert (facts[CheckName.TEST]["tests"], facts[CheckName.TEST]["covered_percent"]) == (9, 100)
    assert {change["subject"] for change in facts[CheckName.CHANGES]["changes"]} == {"ops.scale_down"}


@pytest.mark.parametrize(
    ("field", "new"),
    [
        ("name", NewRule("Ops/x", Effect.DENY, Severity.LOW, "o", "t", "a/b")),
        ("name", NewRule("../../x", Effect.DENY, Severity.LOW, "o", "t", "a/b")),
        ("tool", NewRule("ops/name", Effect.DENY, Severity.LOW, "o", "t", 'a/b"}')),
        ("title", NewRule("ops/name", Effect.DENY, Severity.LOW, "o", "t\n# custom:", "a/b")),
        ("owner", NewRule("ops/name", Effect.DENY, Severity.LOW, 'o"', "t", "a/b")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_new_rule_is_only_what_a_rule_may_be_called(field: str, new: NewRule) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        rule_files(new)
    assert refused.value.metadata()["field"] == field


def test_only_what_is_named_is_checked(clone: Clone) -> None:
    report = checked(clone.path, only=[CheckName.FORMAT, CheckName.LINT])
    assert [result.name for result in report.results] == [CheckName.FORMAT, CheckName.LINT]


def test_a_file_that_cannot_be_parsed_is_named_as_it_lies_in_the_repository(clone: Clone) -> None:
    path = "rego/aisecops/rules/business/refund_without_order/refund_without_order.rego"
    clone.write({path: clone.text(path) + "\nthis is no Rego {\n"})
    report = checked(clone.path, only=[CheckName.LINT])
    assert [result.skipped.startswith(f"a file cannot be parsed: {path}:") for result in report.results] == [True]


def test_a_waiver_lets_one_problem_pass_until_its_day_and_is_told_when_it_is_over(clone: Clone) -> None:
    clone.write(
        {"data/budgets.yaml": clone.text("data/budgets.yaml").replace("session_calls: 200", "session_calls: 2000")}
    )
    found = errors(checked(clone.path, only=[CheckName.CONFTEST]))
    assert [(problem.code, problem.subject) for problem in found] == [
        ("conftest.budgets.ceiling", "profiles.workshop.session_calls")
    ]
    assert found[0].path == "data/budgets.yaml"
    assert "session_calls: 2000" in clone.text("data/budgets.yaml").splitlines()[found[0].line - 1]
    waiver = (
        "- code: conftest.budgets.ceiling\n  subject: profiles.workshop.session_calls\n  owner: agent-platform\n"
        "  reason: The migration needs long sessions for some weeks.\n  expires: {day}\n"
    )
    today = checked_day()
    clone.write({"waivers.yaml": waiver.format(day=today)})
    report = checked(clone.path, only=[CheckName.CONFTEST])
    assert errors(report) == []
    assert "waived until" in report.results[0].problems[0].message
    clone.write({"waivers.yaml": waiver.format(day="2020-01-01")})
    codes = {problem.code for problem in errors(checked(clone.path, only=[CheckName.CONFTEST]))}
    assert codes == {"conftest.budgets.ceiling", "waiver.unusable"}


def checked_day() -> str:
    return datetime.fromtimestamp(SystemClock().now_ns() / 1e9, tz=UTC).date().isoformat()


HOSTILE = "x]](http://evil.example) @everyone <script>alert(1)</script>\n::error::forged | `a`"


@pytest.fixture
def hostile() -> CheckReport:
    problem = Problem("lint.word", HOSTILE, hint=HOSTILE, path="rego/a,b:c\n.rego", line=3, subject=HOSTILE)
    return CheckReport("p", (CheckResult(CheckName.LINT, (problem,)),))


def test_no_report_can_be_forged_by_what_stands_in_a_policy(hostile: CheckReport) -> None:
    assert len(written(hostile, "github").splitlines()) == 1
    assert "::error file=rego/a%2Cb%3Ac%0A.rego,line=3,title=lint.word::" in written(hostile, "github")
    markdown = written(hostile, "markdown")
    assert "<script>" not in markdown.replace("\\<", "")
    assert "@everyone" not in markdown
    assert "\n::error" not in markdown
    suite = ET.fromstring(written(hostile, "junit"))
    assert suite.attrib == {"name": "policy", "tests": "1", "failures": "1", "skipped": "0"}
    result = json.loads(written(hostile, "sarif"))["runs"][0]["results"][0]
    assert (result["ruleId"], result["level"]) == ("lint.word", "error")
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}
    assert json.loads(written(hostile, "json"))["passed"] is False


def test_a_report_is_never_longer_than_a_git_host_takes() -> None:
    problems = tuple(Problem("lint.word", "é" * 200, path=f"rego/{number}.rego", line=1) for number in range(1000))
    text = written(CheckReport("p", (CheckResult(CheckName.LINT, problems),)), "markdown")
    assert len(text.encode()) <= MARKDOWN_BYTES
    assert text.endswith("has all of it.\n")


def test_the_schemas_name_every_table_and_every_file_finds_its_own() -> None:
    files = starter()
    for path in (each for each in files if each.startswith(("data/", "cases/"))):
        line = files[path].split(b"\n", 1)[0].decode()
        assert line.startswith("# yaml-language-server: $schema=../.schemas/"), path
        schema = json.loads(files[line.rpartition("../")[2]])
        assert schema["$schema"].startswith("https://json-schema.org/")
