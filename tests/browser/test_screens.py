"""Every screen, as people meet it: accessible in both themes, narrow, without scripts, light, and silent."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.usecases.bundles.activate import Order
from aisecops_server.usecases.rollouts.rollouts import StartCommand
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.browser.visits import visiting
from tests.scenes.approvals.requests import asked
from tests.scenes.planes.ui_scene import PERSON, Scene
from tests.scenes.policy.git_remotes import Remote

# Many pages in one test, on a machine that may be busy with others.
pytestmark = pytest.mark.timeout(600)
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Another theme is other colours and nothing else.
CHECKED = {"light": {"type": "tag", "values": STANDARDS}, "dark": {"type": "rule", "values": ["color-contrast"]}}
PAGE_KILOBYTES = 40
AGENT = "spiffe://corp.example/agent/support-assistant"
MOST_NODES = 1500
NARROW = {"width": 320, "height": 720}


def _trace(scene: Scene) -> str:
    return f"/traces/{scene.traces['ticket-asks-for-customers']}"


def _event(scene: Scene) -> str:
    return f"{_trace(scene)}/events/{_concluded(scene)}"


@functools.cache
def _concluded(scene: Scene) -> str:
    trace = scene.run(_read(scene, scene.traces["ticket-asks-for-customers"]))
    return next(event.event_id for event in trace.events if event.type == "decision.concluded")


def _live(scene: Scene) -> str:
    return scene.plane.live.current().bundle.revision


@functools.cache
def _request(scene: Scene) -> str:
    return json.loads(scene.get("/approvals.json?state=all")[2])["page"]["approvals"][0]["approvalId"]


@functools.cache
def identical(scene: Scene) -> list[str]:
    return [scene.run(asked(scene, version="3.3.1", step=step)) for step in ("a", "b", "c")]


@functools.cache
def _replay(scene: Scene) -> str:
    return scene.replayed("approvals.tools.crm/issue_refund.amount_over=50")


@functools.cache
def _rollout(scene: Scene) -> str:
    remote = Remote(Path(scene.settings.repository))
    remote.git("switch", "--quiet", "--create", "candidate", "main")
    candidate = remote.commit({"README.candidate": b"nothing that decides\n"}, "a candidate")
    remote.git("switch", "--quiet", "main")
    scene.run(scene.plane.rollouts.start(StartCommand(CommitId(candidate), Order(PERSON, "watch it first"))))
    return "/rollouts"


@functools.cache
def _difference(scene: Scene) -> str:
    remote = Remote(Path(scene.settings.repository))
    limits = (remote.path / "data/approvals.yaml").read_text("utf-8")
    remote.git("switch", "--quiet", "--create", "looser", "main")
    looser = remote.commit({"data/approvals.yaml": limits.replace("amount_over: 1000", "amount_over: 5000").encode()})
    remote.git("switch", "--quiet", "main")
    scene.run(scene.plane.policy.sync())
    return f"/revisions/{_live(scene)}..{looser}"


async def _read(scene: Scene, trace_id: str):
    async with scene.client() as client:
        return await client.trace(trace_id)


SCREENS: Mapping[str, Callable[[Scene], str]] = {
    "traces": lambda _: "/traces",
    "traces-narrowed": lambda _: "/traces?q=outcome:blocked",
    "traces-none": lambda _: "/traces?q=outcome:blocked+tool:nothing/*",
    "trace-steps": _trace,
    "trace-events": lambda scene: f"{_trace(scene)}?view=events",
    "trace-story": lambda scene: f"{_trace(scene)}?view=story",
    "event-why": _event,
    "event-evidence": lambda scene: f"{_event(scene)}?tab=evidence",
    "event-provenance": lambda scene: f"{_event(scene)}?tab=provenance",
    "event-rego": lambda scene: f"{_event(scene)}?tab=rego",
    "event-integrity": lambda scene: f"{_event(scene)}?tab=integrity",
    "graph": lambda scene: f"{_trace(scene)}/graph",
    "overview": lambda _: "/",
    "metrics": lambda _: "/metrics",
    "system": lambda _: "/system",
    "policy": lambda _: "/revisions",
    "revision": lambda scene: f"/revisions/{_live(scene)}",
    "policy-file": lambda scene: f"/revisions/{_live(scene)}/files/data/approvals.yaml",
    "difference": _difference,
    "rollouts": _rollout,
    "evidence": lambda _: "/evidence",
    "agents": lambda _: "/agents",
    "agent": lambda _: f"/agents/{quote(AGENT, safe='')}",
    "budgets": lambda _: "/budgets",
    "approvals": lambda _: "/approvals",
    "approval-identical": lambda scene: f"/approvals/{identical(scene)[0]}",
    "approvals-grouped": lambda scene: identical(scene) and "/approvals",
    "approval": lambda scene: f"/approvals/{_request(scene)}",
    "replays": lambda _: "/replays",
    "replay-new": lambda _: "/replays/new",
    "replay": lambda scene: f"/replays/{_replay(scene)}",
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out_of_a_screen(browser: Browser, scene: Scene, theme: str) -> None:
    found = {}
    with visiting(browser, scene, color_scheme=theme) as visit:
        for name, path in SCREENS.items():
            visit.go(path(scene))
            visit.shoot(f"{name}-{theme}")
            result = Axe().run(visit.page, options={"runOnly": CHECKED[theme]})
            found |= {
                f"{name}: {violation['id']}": [node["html"] for node in violation["nodes"]][:3]
                for violation in result.response["violations"]
            }
        assert visit.complaints == []
        assert visit.outside == []
    assert found == {}


def test_a_screen_is_light_and_small(browser: Browser, scene: Scene) -> None:
    heavy, large = {}, {}
    with visiting(browser, scene) as visit:
        visit.forget_everything()
        for name, path in SCREENS.items():
            visit.go(path(scene))
            nodes = int(visit.page.evaluate("() => document.querySelectorAll('*').length"))
            heavy |= {name: visit.kilobytes} if visit.kilobytes > PAGE_KILOBYTES else {}
            large |= {name: nodes} if nodes > MOST_NODES else {}
    assert (heavy, large) == ({}, {})


def test_a_screen_fits_a_phone(browser: Browser, scene: Scene) -> None:
    wide = {}
    with visiting(browser, scene, viewport=NARROW) as visit:
        for name, path in SCREENS.items():
            visit.go(path(scene))
            visit.shoot(f"{name}-phone")
            width = int(visit.page.evaluate("() => document.documentElement.scrollWidth"))
            wide |= {name: width} if width > NARROW["width"] else {}
    assert wide == {}


def test_a_screen_reads_without_scripts(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene, java_script_enabled=False) as visit:
        for name, path in SCREENS.items():
            visit.go(path(scene))
            assert visit.page.locator("main h1").count() == 1, name
            assert len(visit.page.locator("main").inner_text()) > 100, name
