"""The board for Grafana asks for metrics and labels that a control plane serves, and is whole."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aisecops_client import Client
from aisecops_client.drift import check_drift
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.deploy.test_alerts import served as everything
from tests.scenes.planes.ui_scene import Scene, ui_scene

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "deploy" / "grafana"
BOARD = GRAFANA / "dashboards" / "aisecops.json"
WIDTH = 24
# The units of Grafana that the board uses; one that it does not know is shown as a word behind the number.
UNITS = {"none", "short", "reqps", "cps", "percentunit", "ns", "dateTimeFromNow"}
KINDS = {"stat", "timeseries", "bargauge", "table"}
_METRIC = re.compile(r"\baisecops_\w+")
_SELECTED = re.compile(r"(aisecops_\w+)\{([^}]*)\}")
_LABEL = re.compile(r'(\w+)\s*=~?\s*"[^"]*"')
_BY = re.compile(r"by \(([\w, ]+)\)")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_OVER_TIME = re.compile(r"\b(?:rate|increase|deriv)\(([^()]*)\)")
# What Grafana itself puts in.
_BUILT_IN = {"__rate_interval": "5m", "__range": "6h"}
Labels = Mapping[str, frozenset[str]]
Json = Mapping[str, Any]


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(BOARD.read_text("utf-8"))
    return found


def panels(of: Json) -> list[Json]:
    return [panel for panel in of["panels"] if panel["type"] != "row"]


def expressions(of: Json) -> Iterator[tuple[str, str, str]]:
    """Yield every expression with its place and its legend."""
    for panel in panels(of):
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target.get("legendFormat", "")
    for note in of["annotations"]["list"]:
        yield f"note {note['name']}", note["expr"], note["titleFormat"]
    for variable in of["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["definition"], ""


async def _counted(scene: Scene) -> str:
    """Return what is served when every decision is counted: counting follows what is recorded."""
    path = scene.settings.metrics_address.removeprefix("unix:")
    async with asyncio.timeout(60), aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        while True:
            async with session.get("http://metrics/metrics") as answer:
                text = await answer.text()
            samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
            if sum(s.value for s in samples if s.name == "aisecops_decisions_total") >= len(scene.decisions):
                return text


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Return each metric that a control plane serves after some decisions, with its labels."""
    socket = tmp_path_factory.mktemp("m") / "m.sock"
    with ui_scene(metrics_address=f"unix:{socket}") as scene:
        with Client.connect(scene.socket, scene.token()) as client:
            check_drift(client)
        text = scene.run(_counted(scene), seconds=120)
    found: dict[str, frozenset[str]] = {}
    declared = everything()
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = frozenset(label for sample in family.samples for label in sample.labels)
        # Of what did not happen there is a metric, without a sample that has its labels.
        found[name] = labels or frozenset(declared.get(name, ()))
    return found


def problems(of: Json, known: Labels) -> Iterator[str]:
    """Say what is wrong with a board."""
    for place, expression, legend in expressions(of):
        names = set(_METRIC.findall(expression))
        if not names:
            yield f"{place}: asks for no metric"
        yield from (f"{place}: no metric {name}" for name in names if name not in known)
        for name, selector in _SELECTED.findall(expression):
            asked = set(_LABEL.findall(selector)) - known.get(name, frozenset())
            yield from (f"{place}: {name} has no label {label}" for label in asked)
        shown = {label.strip() for labels in _BY.findall(expression) for label in labels.split(",")}
        there = frozenset().union(*(known.get(name, frozenset()) for name in names))
        yield from (f"{place}: nothing has a label {label}" for label in shown - there)
        kept = shown or there
        yield from (f"{place}: the legend names {label}" for label in set(_LEGEND.findall(legend)) - kept)
        yield from (f"{place}: {part} has no range" for part in _OVER_TIME.findall(expression) if "[" not in part)
        for opening, closing in ("()", "[]", "{}"):
            if expression.count(opening) != expression.count(closing):
                yield f"{place}: {opening} does not end"
    yield from _variables(of)
    yield from _panels(of)


def _variables(of: Json) -> Iterator[str]:
    defined = {variable["name"] for variable in of["templating"]["list"]}
    used = {name for _, expression, _ in expressions(of) for name in _VARIABLE.findall(expression)}
    used |= set(_VARIABLE.findall(json.dumps([panel["datasource"] for panel in panels(of)])))
    yield from (f"no variable {name}" for name in used - defined - set(_BUILT_IN))
    yield from (f"variable {name} is not used" for name in defined - used)


def _panels(of: Json) -> Iterator[str]:
    numbers = [panel["id"] for panel in of["panels"]]
    if len(set(numbers)) != len(numbers):
        yield "two panels have one id"
    for panel in panels(of):
        title, unit = panel["title"], panel["fieldConfig"]["defaults"].get("unit")
        if not title or not panel["description"]:
            yield f"{title or panel['id']}: nobody says what it is"
        if unit not in UNITS:
            yield f"{title}: unit {unit}"
        if panel["type"] not in KINDS:
            yield f"{title}: kind {panel['type']}"
        if panel["gridPos"]["x"] + panel["gridPos"]["w"] > WIDTH:
            yield f"{title}: is wider than the board"
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        if any(source["uid"] != "${datasource}" for source in sources):
            yield f"{title}: reads from a source of its own"
    for one, other in combinations(of["panels"], 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            yield f"{one['title']} lies on {other['title']}"


def _overlap(one: Json, other: Json) -> bool:
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))


def test_everything_on_the_board_is_served_and_whole(served: Labels) -> None:
    assert list(problems(board(), served)) == []


def test_every_metric_that_is_served_is_on_the_board(served: Labels) -> None:
    asked = {name for _, expression, _ in expressions(board()) for name in _METRIC.findall(expression)}
    assert set(served) - asked == set()


def _broken(**changes: object) -> dict[str, Any]:
    """Return the board with its first panel that has a legend changed."""
    made = copy.deepcopy(board())
    panel = next(panel for panel in panels(made) if panel["targets"][0].get("legendFormat"))
    for name, value in changes.items():
        match name:
            case "expr" | "legendFormat":
                panel["targets"][0][name] = value  # type: ignore[index]
            case "unit":
                panel["fieldConfig"]["defaults"]["unit"] = value  # type: ignore[index]
            case _:
                panel[name] = value  # type: ignore[index]
    return made


BROKEN: Mapping[str, Mapping[str, object]] = {
    "no metric aisecops_verdicts_total": {"expr": "sum(rate(aisecops_verdicts_total[5m]))", "legendFormat": ""},
    "has no label team": {"expr": 'sum(aisecops_decisions_total{team="a"})', "legendFormat": ""},
    "nothing has a label team": {"expr": "sum by (team) (aisecops_decisions_total)", "legendFormat": ""},
    "the legend names team": {"legendFormat": "{{team}}"},
    "has no range": {"expr": "rate(aisecops_decisions_total)", "legendFormat": ""},
    "( does not end": {"expr": "sum(aisecops_log_events", "legendFormat": ""},
    "asks for no metric": {"expr": "up", "legendFormat": ""},
    "no variable team": {"expr": 'sum(aisecops_decisions_total{mode="$team"})', "legendFormat": ""},
    "unit decisions": {"unit": "decisions"},
    "nobody says what it is": {"description": ""},
    "kind graph": {"type": "graph"},
    "lies on": {"gridPos": {"h": 4, "w": 4, "x": 0, "y": 1}},
    "two panels have one id": {"id": 1},
}


@pytest.mark.parametrize("said", BROKEN)
def test_what_is_wrong_with_a_board_is_found(served: Labels, said: str) -> None:
    assert any(said in problem for problem in problems(_broken(**BROKEN[said]), served))


def test_the_engine_of_prometheus_reads_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip(reason="no promtool: 'make prometheus' installs it; expressions were checked by their names only")
    rules = [
        {"record": f"board:part{number}", "expr": _filled(expression)}
        for number, (place, expression, _) in enumerate(expressions(board()))
        if not place.startswith("variable")
    ]
    file = tmp_path / "board.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}), "utf-8")
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def _filled(expression: str) -> str:
    return _VARIABLE.sub(lambda found: _BUILT_IN.get(found[1], ".*"), expression)


def test_the_files_that_provision_it_fit_together() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text("utf-8"))["datasources"]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/aisecops.yaml").read_text("utf-8"))["providers"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert "password" not in json.dumps(source).lower()
    how_to = (ROOT / "docs/how-to/watch-on-grafana.md").read_text("utf-8")
    for told in (provider["options"]["path"], source["url"].removeprefix("$"), BOARD.name):
        assert told in how_to
