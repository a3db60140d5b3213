"""Each alert that is shipped asks for metrics, labels and values that there are, and its part of the page is there."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from aisecops_server.adapters.metrics.exposition import exposition
from aisecops_server.domain.bundles.announcement import Announced, Announcement
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.bundles.channel_standing import standing_of
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.events.event_kinds import EVENT_KINDS
from aisecops_server.domain.figures.metrics import EventCounts
from aisecops_server.domain.replays.drift import DriftReport, PolicyDrift, Reproduced
from aisecops_server.domain.replays.fidelity import Check, Fidelity
from aisecops_server.domain.tenants.fair_queue import QueueLoad, Refused
from aisecops_server.usecases.log.count_events import Snapshot
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
CASES = ALERTS.with_name("alerts_test.yaml")
HOW_TO = ROOT / "docs" / "how-to"

_METRIC = re.compile(r"\baisecops_\w+")
_SELECTED = re.compile(r"(aisecops_\w+)\{([^}]*)\}")
_LABEL = re.compile(r'(\w+)\s*=~?\s*"([^"]*)"')
_BY = re.compile(r"by \((\w+)\)")
Rule = Mapping[str, Any]


def rules() -> list[Rule]:
    """Return every alert of the file."""
    return [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]


def served() -> Mapping[str, Mapping[str, set[str]]]:
    """Return each metric with its labels and the values seen, of a control plane to which everything happened."""
    counts = EventCounts()
    for kind in EVENT_KINDS:
        counts.add(kind, "d", {"outcome": "DENY", "mode": "ENFORCE"} if kind == "decision.concluded" else {})
    for outcome in Outcome:
        for mode in Mode:
            counts.add("decision.concluded", "d", {"outcome": outcome.value, "mode": mode.value})
    drift = DriftReport(
        checked_at_ns=1,
        window_seconds=60,
        fidelity=Fidelity((Check("d1", "r"),)),
        rows=(Reproduced("a", "t", 1, 1),),
        policies=(PolicyDrift("live", "r", compared=1, looser=1),),
    )
    load = QueueLoad(1, 1, {(Refused.FULL.value, "t"): 1})
    found: dict[str, dict[str, set[str]]] = {}
    word = Announced(Announcement("prod", CommitId("1" * 40), "0" * 64, 7, 1, 2), "0" * 64, "key")
    channel = standing_of("prod", word, known=frozenset({"key"}), now_seconds=3, grace_seconds=5)
    missing = {"evidence": True}
    text = exposition(
        {"default": Snapshot(counts, 1, sealed=True, drift=drift, channel=channel, missing=missing)}, load
    ).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def problems(rule: Rule) -> Iterator[str]:
    """Say what is wrong with an alert."""
    known, expression = served(), rule["expr"]
    names = _METRIC.findall(expression)
    if not names:
        yield "asks for no metric"
    yield from (f"no metric {name}" for name in names if name not in known)
    for name, selector in _SELECTED.findall(expression):
        for label, values in _LABEL.findall(selector):
            there = known.get(name, {}).get(label, set())
            yield from (f"{name} has no {label}={value}" for value in values.split("|") if value not in there)
    yield from (
        f"nothing has a label {label}" for label in _BY.findall(expression) if not _labelled(known, names, label)
    )
    begins, _, place = rule["annotations"]["runbook_url"].partition("/how-to/")
    page, _, anchor = place.partition("#")
    if begins != "{{ $externalLabels.aisecops_docs }}":
        yield "leads to no page where it is read"
    if anchor != rule["alert"].lower() or f"\n## {rule['alert']}\n" not in (HOW_TO / page).read_text("utf-8"):
        yield "has no part on its page"
    if rule["labels"]["severity"] not in {"critical", "warning"}:
        yield "nobody knows how bad it is"


def _labelled(known: Mapping[str, Mapping[str, set[str]]], names: list[str], label: str) -> bool:
    return any(label in known.get(name, {}) for name in names)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is_and_has_its_part_of_the_page(rule: Rule) -> None:
    assert list(problems(rule)) == []


def test_the_page_has_a_part_for_nothing_else() -> None:
    parts = re.findall(r"^## (\w+)$", (HOW_TO / "answer-an-alarm.md").read_text("utf-8"), re.MULTILINE)
    assert parts == [rule["alert"] for rule in rules()]


BROKEN = {
    "no metric aisecops_log_seals": {"expr": "aisecops_log_seals == 1"},
    "aisecops_policy_changes_total has no event=refused": {"expr": 'aisecops_policy_changes_total{event="refused"}'},
    "aisecops_policy_drift has no direction=lax": {"expr": 'aisecops_policy_drift{direction=~"looser|lax"}'},
    "nothing has a label team": {"expr": "sum by (team) (aisecops_decisions_total)"},
    "asks for no metric": {"expr": "up == 0"},
    "has no part on its page": {"alert": "AisecopsUnknown"},
    "leads to no page where it is read": {"annotations": {"runbook_url": "answer-an-alarm.md#aisecopslogsealed"}},
    "nobody knows how bad it is": {"labels": {"severity": "bad"}},
}


@pytest.mark.parametrize("said", BROKEN)
def test_what_is_wrong_with_an_alert_is_found(said: str) -> None:
    rule = {**copy.deepcopy(rules()[1]), **BROKEN[said]}
    assert said in list(problems(rule))


# --- what Prometheus itself makes of them ----------------------------------------------------------------------------


def cases() -> list[Mapping[str, Any]]:
    return list(yaml.safe_load(CASES.read_text("utf-8"))["tests"])


def promtool(folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    """Run it, or skip; ``folder`` holds both files."""
    found = shutil.which("promtool")
    if not found:
        pytest.skip(
            reason="no promtool: 'make prometheus' installs it where it can; alerts were read by their names only"
        )
    return subprocess.run([found, *line], cwd=folder, capture_output=True, text=True, check=False)


def test_every_alert_has_a_case_that_it_fires_for_and_one_that_it_is_silent_at() -> None:
    seen = [(case["alertname"], bool(case["exp_alerts"])) for one in cases() for case in one["alert_rule_test"]]
    assert {(rule["alert"], fires) for rule in rules() for fires in (True, False)} == set(seen)


def test_cases_are_of_series_that_there_are() -> None:
    known = served()
    for one in cases():
        for series in one["input_series"]:
            name, _, selector = series["series"].partition("{")
            # Whom a control plane is scraped as is the monitoring system's word.
            labels = {label: value for label, value in _LABEL.findall(selector) if label != "job"}
            assert labels.keys() <= known[name].keys() | {"tenant"}, series
            assert all(value in known[name][label] for label, value in labels.items() if label in ("event", "outcome"))


def test_prometheus_fires_and_is_silent_as_the_cases_say() -> None:
    checked = promtool(ALERTS.parent, "check", "rules", ALERTS.name)
    assert (checked.returncode, f"{len(rules())} rules found" in checked.stdout) == (0, True), checked.stderr
    done = promtool(CASES.parent, "test", "rules", CASES.name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("broken", ["vector(0) > 1", "vector(1)"], ids=["never fires", "always fires"])
def test_an_alert_that_is_broken_fails_its_cases(tmp_path: Path, broken: str) -> None:
    told = yaml.safe_load(ALERTS.read_text("utf-8"))
    for rule in [rule for group in told["groups"] for rule in group["rules"]]:
        rule["expr"] = broken
        rule.pop("for", None)
    (tmp_path / ALERTS.name).write_text(yaml.safe_dump(told), "utf-8")
    shutil.copyfile(CASES, tmp_path / CASES.name)
    done = promtool(tmp_path, "test", "rules", CASES.name)
    assert done.returncode != 0
    failed = set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr))
    assert failed == {rule["alert"] for rule in rules()}
