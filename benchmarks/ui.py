"""What the UI costs, each beside its bar: pages and long traces in a real browser, graphs and lists on the server.

``python -m benchmarks.ui`` needs an engine and Chromium, and takes a quarter of an hour; ``--events`` is how long the
log is of which lists are asked, ``--longest`` how many events the longest trace has. Weights, nodes and violations do
not depend on the machine. Times do, so its load is told.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aisecops_client.plan import PlanBuilder
from aisecops_server.adapters.sqlite.event_log import open_log
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.traces.execution_graph import Edge, EdgeKind, ExecutionGraph, Node, NodeKind
from aisecops_server.domain.traces.graph_layout import layout
from aisecops_server.domain.traces.graph_text import mermaid
from aisecops_server.entrypoints.web.graph_drawing import draw
from aisecops_server.entrypoints.web.rendering import Assets
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect, sync_playwright

from benchmarks.event_log import EVENTS_PER_DECISION, fill, pages
from tests.browser.conftest import chromium
from tests.browser.test_screens import CHECKED, SCREENS
from tests.browser.visits import Visit, visiting
from tests.integration.api.real import AGENT
from tests.scenes.planes.ui_scene import Scene, ui_scene

ROUNDS = 7
LONG = 10_000
# Its plans are alike; what is measured is the list of every one of them.
TRACE = "0af7651916cd43dd8448eb211c80319c"
# Notes when the rows can be scrolled through.
_READY = """new MutationObserver(() => {
  if (!window.readyAt && document.querySelector('table[data-ready]')) window.readyAt = performance.now();
}).observe(document, { subtree: true, childList: true, attributeFilter: ['data-ready'] });"""
# Scrolls through the whole list for three seconds, and counts the frames, and those without a row in the middle.
_SCROLLS = """() => new Promise((done) => {
  const far = document.documentElement.scrollHeight - innerHeight, began = performance.now();
  let frames = 0, blank = 0;
  const next = (now) => {
    const share = Math.min(1, (now - began) / 3000);
    scrollTo(0, far * share);
    requestAnimationFrame((later) => {
      const at = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
      frames += 1;
      if (at?.closest('tr.spacer')) blank += 1;
      share < 1 ? next(later) : done([frames, blank, later - began]);
    });
  };
  requestAnimationFrame(next);
})"""


# Chooses the next row so many times, and says how long each took until its event stood in the pane.
_MOVES = """async (count) => {
  const times = [];
  for (let at = 0; at < count; at++) {
    const shown = document.querySelector('aside.pane')?.dataset.shown;
    const began = performance.now();
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }));
    const row = document.querySelector('tr.at a.open');
    if (!row) throw new Error('no row was chosen');
    if (at === 0) row.click();
    await new Promise((done) => {
      const look = () => {
        const now = document.querySelector('aside.pane')?.dataset.shown;
        if (now && now !== shown) { seen.disconnect(); requestAnimationFrame(done); }
      };
      const seen = new MutationObserver(look);
      seen.observe(document.body, { subtree: true, childList: true, attributeFilter: ['data-shown'] });
      look();
    });
    times.push(performance.now() - began);
  }
  return times;
}"""
# The paint may still be to come when the page is loaded.
_PAINTED = """() => new Promise((done) => {
  new PerformanceObserver((seen) => {
    const first = seen.getEntriesByName('first-contentful-paint')[0];
    if (first) done(first.startTime);
  }).observe({ type: 'paint', buffered: true });
})"""
MOVES = 40
DEMO_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure, its unit, and the most that it may be; with ``at_least`` the least."""

    what: str
    figure: float
    bar: float
    unit: str
    at_least: bool = False

    def row(self) -> str:
        met = self.figure >= self.bar if self.at_least else self.figure <= self.bar
        bar = f"{'≥' if self.at_least else '≤'} {self.bar:,.0f} {self.unit}"
        return f"| {self.what} | {self.figure:,.1f} {self.unit} | {bar} | {'met' if met else 'missed'} |"


def main() -> None:
    """Print every figure beside its bar."""
    parser = argparse.ArgumentParser(description="What the UI costs.")
    parser.add_argument(
        "--events", type=int, default=100_000, help="how many events the log has of which lists are asked"
    )
    parser.add_argument("--longest", type=int, default=100_000, help="how many events the longest trace has")
    asked = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f}\n")
    _graphs()
    print("\n| | measured | bar | |\n| --- | --- | --- | --- |")
    for one in _all(asked.events, asked.longest):
        print(one.row(), flush=True)
    print(f"\nload after: {os.getloadavg()[0]:.1f}")


def _all(events: int, longest: int) -> Iterator[Measured]:
    yield from _files()
    yield _help()
    yield _demo()
    yield asyncio.run(_lists(events))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        with ui_scene() as scene:
            yield from _screens(browser, scene)
            yield _painted(browser, scene)
            yield _without_scripts(browser, scene)
        with ui_scene(populated=False) as scene:
            yield from _long_trace(browser, scene)
            yield _moves(browser, scene)
            yield _longest_trace(browser, scene, longest)
        browser.close()


def _files() -> Iterator[Measured]:
    files = Assets().files
    scripts = sum(len(content) for name, content in files.items() if name.endswith(".js"))
    yield Measured("own modules, as they are", scripts / 1024, 40, "kB")
    nodes, edges = _graph(50)
    drawn, _ = _best(lambda: str(draw(layout(nodes, edges, fold=False))))
    yield Measured(f"graph of {len(nodes)} nodes, laid out and drawn", drawn * 1000, 50, "ms")
    nodes, edges = _graph(250)
    drawn, _ = _best(lambda: str(draw(layout(nodes, edges, fold=False))))
    yield Measured(f"graph of {len(nodes)} nodes, laid out and drawn", drawn * 1000, 1000, "ms")


def _help() -> Measured:
    line = [sys.executable, "-m", "aisecops_server", "--help"]
    best, _ = _best(lambda: subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    return Measured(f"aisecops --help, best of {ROUNDS}", best * 1000, 200, "ms")


def _demo() -> Measured:
    """Return how long the demo takes until it prints the link of what it played."""
    line = [sys.executable, "-m", "aisecops_server", "demo", "--temporary", "--serve", "--pace", "0"]
    began = time.perf_counter()
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        linked = any("http://127.0.0.1:" in printed for printed in demo.stdout)
        spent = time.perf_counter() - began
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=DEMO_SECONDS)
    return Measured("demo until its link is printed", spent if linked else float("inf"), 10, "s")


async def _lists(events: int) -> Measured:
    """Return what nineteen of twenty pages of the slowest filter take at most."""
    with tempfile.TemporaryDirectory() as folder:
        log = open_log(Path(folder) / "audit.db")
        try:
            await fill(log, events // EVENTS_PER_DECISION)
            size = (await log.head()).size
            slowest = max(statistics.quantiles(times, n=20)[-1] for _, _, times in await pages(log))
        finally:
            await log.close()
    return Measured(f"page of a list of {size:,} events, p95 of the slowest filter", slowest, 100, "ms")


def _screens(browser: Browser, scene: Scene) -> Iterator[Measured]:
    heaviest, largest, violations, outside = ("", 0.0), ("", 0), 0, 0
    for theme in CHECKED:
        with visiting(browser, scene, color_scheme=theme) as visit:
            visit.forget_everything()
            for name, path in SCREENS.items():
                visit.go(path(scene))
                heaviest = max(heaviest, (name, visit.kilobytes), key=lambda one: one[1])
                largest = max(largest, (name, _nodes(visit)), key=lambda one: one[1])
                found = Axe().run(visit.page, options={"runOnly": CHECKED[theme]})
                violations += len(found.response["violations"])
            outside += len(visit.outside) + len(visit.complaints)
    yield Measured(f"heaviest of {len(SCREENS)} screens, cold ({heaviest[0]})", heaviest[1], 40, "kB")
    yield Measured(f"most nodes of a screen ({largest[0]})", largest[1], 1500, "")
    yield Measured("violations of WCAG 2.2 A and AA by axe, light and dark", violations, 0, "")
    yield Measured("requests to elsewhere and console messages", outside, 0, "")


def _painted(browser: Browser, scene: Scene) -> Measured:
    times = []
    with visiting(browser, scene) as visit:
        visit.forget_everything()
        for _ in range(ROUNDS):
            visit.go("/system")
            visit.go("/traces")
            times.append(float(visit.page.evaluate(_PAINTED)))
    return Measured(f"first contentful paint of the list, cold, best of {ROUNDS}", min(times), 500, "ms")


def _without_scripts(browser: Browser, scene: Scene) -> Measured:
    with visiting(browser, scene, java_script_enabled=False) as visit:
        empty = 0
        for path in SCREENS.values():
            visit.go(path(scene))
            main = visit.page.locator("main")
            empty += main.locator("h1").count() != 1 or len(main.inner_text()) < 100
    return Measured("screens that do not read without scripts", empty, 0, "")


def _moves(browser: Browser, scene: Scene) -> Measured:
    with visiting(browser, scene) as visit:
        visit.go(f"/traces/{TRACE}?fold=0")
        expect(visit.page.locator("table[data-ready]")).to_be_attached()
        times = visit.page.evaluate(_MOVES, MOVES)
    return Measured(f"from a row to its event, p95 of {MOVES}", statistics.quantiles(times, n=20)[-1], 150, "ms")


def _longest_trace(browser: Browser, scene: Scene, events: int) -> Measured:
    scene.run(_filled(scene, events), seconds=3600)
    with visiting(browser, scene) as visit:
        visit.page.context.add_init_script(_READY)
        visit.go(f"/traces/{TRACE}?fold=0")
        expect(visit.page.locator("table[data-ready]")).to_be_attached()
        ready = float(visit.page.evaluate("() => window.readyAt"))
    return Measured(f"trace of {events:,} events ready", ready, 3000, "ms")


def _long_trace(browser: Browser, scene: Scene) -> Iterator[Measured]:
    scene.run(_filled(scene, LONG), seconds=600)
    with visiting(browser, scene) as visit:
        visit.forget_everything()
        visit.page.context.add_init_script(_READY)
        readies = []
        for _ in range(ROUNDS):
            visit.go("/system")
            visit.go(f"/traces/{TRACE}?fold=0")
            expect(visit.page.locator("table[data-ready]")).to_be_attached()
            readies.append(visit.page.evaluate("() => window.readyAt"))
        rows = len(json.loads(visit.page.locator("table").get_attribute("data-columns") or "")["at"])
        frames, blank, spent = visit.page.evaluate(_SCROLLS)
        yield Measured(f"trace of {LONG:,} events, {rows:,} rows, cold", visit.kilobytes, 120, "kB")
        yield Measured(f"ready, best of {ROUNDS}", min(readies), 1000, "ms")
        yield Measured("its nodes, after scrolling", _nodes(visit), 1500, "")
        yield Measured(f"blank frames of {frames}", blank, 0, "")
        yield Measured("frames a second of scrolling through it in 3 s", frames / spent * 1000, 45, "", at_least=True)


async def _filled(scene: Scene, events: int) -> None:
    plan = PlanBuilder("Look up many orders.", environment="production", trace_id=TRACE, session_id="long")
    source = plan.source("user_prompt", "Look up customer C-20417.", name="request")
    plan.step("crm/read_customer", {"customer_id": "C-20417"}, id="look", influenced_by=[source])
    assert scene.plane is not None
    async with scene.client(Role.AGENT, subject=AGENT) as client:
        while (await scene.plane.log.head()).size < events:
            await client.decide_batch([plan.build()] * 100)


def _nodes(visit: Visit) -> int:
    return int(visit.page.evaluate("() => document.querySelectorAll('*').length"))


def _graphs() -> None:
    print("| graph | laid out and drawn | as Mermaid text | times as long | gzip |")
    print("| --- | --- | --- | --- | --- |")
    for decisions in (50, 250):
        nodes, edges = _graph(decisions)
        drawn, svg = _best(lambda nodes=nodes, edges=edges: str(draw(layout(nodes, edges, fold=False))))
        graph = ExecutionGraph(tuple(nodes), tuple(edges), (), decisions, decisions)
        written, _ = _best(lambda graph=graph: mermaid(graph))
        size = len(gzip.compress(svg.encode())) / 1024
        ratio = drawn / written
        print(f"| {len(nodes)} nodes | {drawn * 1000:.0f} ms | {written * 1000:.0f} ms | {ratio:.1f} | {size:.1f} kB |")


def _best(work: Callable[[], str]) -> tuple[float, str]:
    best, made = float("inf"), ""
    for _ in range(ROUNDS):
        began = time.perf_counter()
        made = work()
        best = min(best, time.perf_counter() - began)
    return best, made


def _graph(decisions: int) -> tuple[list[Node], list[Edge]]:
    nodes = [Node("identity:a", NodeKind.IDENTITY, "agent", trace_id="t", event_id="e", facts={})]
    edges: list[Edge] = []
    for number in range(decisions):
        name = f"dec-{number}"
        kinds = (
            (NodeKind.SOURCE, f"{name}/s", "page"),
            (NodeKind.PLAN, name, "look"),
            (NodeKind.STEP, f"{name}/x", "crm/read"),
            (NodeKind.OUTCOME, name, "DENY"),
        )
        own = [Node(f"{kind}:{id_}", kind, label, trace_id="t", event_id="e", facts={}) for kind, id_, label in kinds]
        nodes += own
        edges += [
            Edge(nodes[0].id, own[1].id, EdgeKind.PROPOSED),
            Edge(own[0].id, own[2].id, EdgeKind.INFLUENCED),
            Edge(own[1].id, own[2].id, EdgeKind.PART_OF),
            Edge(own[1].id, own[3].id, EdgeKind.CONCLUDED),
        ]
    return nodes, edges


if __name__ == "__main__":
    main()
