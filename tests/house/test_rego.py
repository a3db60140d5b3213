from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from aisecops_server.domain.policy.policy_check import Problem
from aisecops_server.domain.policy.policy_lint import lint
from aisecops_server.domain.policy.rego_syntax import Module

from tests.scenes.policy.rego_contract import REGO, SCHEMAS, capabilities, run_opa, schema

SOURCES = sorted(REGO.rglob("*.rego"))
ENGINE_SOURCES = (REGO / "aisecops", REGO / "system")


def _modules(paths: list[Path], root: Path) -> list[Module]:
    return [
        Module(
            path.relative_to(root).as_posix(),
            json.loads(run_opa("parse", "-f", "json", "--json-include", "locations,-comments", path).stdout),
        )
        for path in paths
    ]


def _messages(tmp_path: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return [problem.message for problem in _linted(sorted(tmp_path.rglob("*.rego")), tmp_path)]


def _linted(paths: list[Path], root: Path) -> tuple[Problem, ...]:
    schemas = {name: json.loads((REGO / "schemas" / f"{name}.json").read_text()) for name in SCHEMAS}
    return lint(_modules(paths, root), schemas=schemas)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_is_what_the_document_models_say(name):
    assert (REGO / "schemas" / f"{name}.json").read_text(encoding="utf-8") == schema(name)


def test_policy_may_use_the_engine_s_deterministic_built_ins_only():
    assert (REGO / "capabilities.json").read_text(encoding="utf-8") == capabilities()


def test_every_file_compiles_strictly_against_schema_and_capabilities():
    arguments = ["--strict", "-s", REGO / "schemas", "--capabilities", REGO / "capabilities.json"]
    checked = run_opa("check", *arguments, *ENGINE_SOURCES)
    assert checked.returncode == 0, checked.stderr


def test_every_file_is_formatted():
    formatted = run_opa("fmt", "--fail", "-l", *ENGINE_SOURCES)
    assert (formatted.returncode, formatted.stdout) == (0, "")


@pytest.fixture(scope="module")
def tested() -> dict[str, object]:
    # One run gives both: with coverage, a failing test is named instead of the report.
    report = run_opa("test", "--coverage", "--fail-on-empty", "--timeout", "60s", *ENGINE_SOURCES)
    assert report.returncode == 0, report.stdout[-4000:] + report.stderr
    return json.loads(report.stdout)["files"]


def test_every_line_of_policy_is_covered_by_its_tests(tested):
    missed = {
        Path(name).relative_to(REGO).as_posix(): [span["start"]["row"] for span in covered["not_covered"]]
        for name, covered in tested.items()
        if not name.endswith("_test.rego") and covered.get("not_covered")
    }
    assert missed == {}
    policies = {path.as_posix() for path in SOURCES if not path.name.endswith("_test.rego")}
    assert policies - {Path(name).as_posix() for name in tested} == set()


def test_the_library_passes_our_own_lint():
    assert _linted(SOURCES, REGO.parent) == ()


def test_a_rule_that_says_nothing_of_itself_is_reported(tmp_path):
    rule = "package aisecops.rules.plan.silent\n\nfindings contains 1 if input.mode\n"
    messages = _messages(tmp_path, {"rego/aisecops/rules/plan/silent/silent.rego": rule})
    for part in ("title", "description", "custom.effect", "custom.severity", "custom.owner", "custom.remedy"):
        assert f"METADATA has no {part}" in messages
    assert "METADATA has no custom.mappings, which say what the rule is for" in messages
    assert any("0 tests beside it" in message for message in messages)
    assert "no package under 'system': the bundle must own that root" in messages
    assert "data.aisecops.decision.decision has no default, so it can be undefined" in messages


def test_words_outside_the_vocabulary_are_reported(tmp_path):
    rule = (
        "# METADATA\n# title: T\n# description: D\n# scope: package\n# custom:\n#   effect: block\n#   severity: huge\n"
        "#   owner: o\n#   remedy: r\n#   mappings: [m]\npackage aisecops.rules.plan.loud\n\n"
        "findings contains 1 if input.mode\n"
    )
    messages = _messages(tmp_path, {"rego/aisecops/rules/plan/elsewhere.rego": rule})
    assert "custom.effect is not one of deny, require_approval, warn" in messages
    assert "custom.severity is not one of low, medium, high, critical" in messages
    assert (
        "the rule's place does not follow from its package; expected rego/aisecops/rules/plan/loud/loud.rego"
        in messages
    )


@pytest.mark.parametrize("call", ["opa.runtime()", "time.now_ns()", 'trace("x")', 'http.send({"url": "x"})'])
def test_a_call_that_cannot_be_repeated_is_reported(tmp_path, call):
    text = f"package aisecops.decision\n\nx := y if y := {call}\n"
    name = call.partition("(")[0]
    messages = _messages(tmp_path, {"rego/aisecops/decision/decision.rego": text})
    assert f"{name} makes an answer that cannot be repeated or that leaks" in messages


def test_a_negation_that_a_missing_input_turns_around_is_reported(tmp_path):
    wrong = 'package aisecops.decision\n\nx if not startswith(lower(input.mode), "e")\n'
    right = 'package system.x\n\nx if not startswith(input.mode, "e")\n'
    messages = _messages(tmp_path, {"rego/a.rego": wrong, "rego/b.rego": right})
    assert len([message for message in messages if message.startswith("'not' over a call")]) == 1


def test_a_misspelt_field_of_the_document_does_not_compile(tmp_path):
    copy = tmp_path / "rego"
    shutil.copytree(REGO, copy)
    rule = copy / "aisecops/rules/identity/environment_mismatched/environment_mismatched.rego"
    rule.write_text(rule.read_text(encoding="utf-8").replace("input.environment", "input.enviroment"), encoding="utf-8")
    checked = run_opa("check", "--strict", "-s", copy / "schemas", copy / "aisecops")
    assert checked.returncode != 0
    assert "enviroment" in checked.stderr
