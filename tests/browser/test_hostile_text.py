"""Two hundred texts that would run, break out, hide or steer if a page took them for anything but text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aisecops_client.plan import PlanBuilder
from aisecops_server.domain.identity import Role
from playwright.sync_api import Browser

from tests.browser.visits import Visit, visiting
from tests.integration.api.real import AGENT
from tests.ui_scene import Scene

pytestmark = pytest.mark.timeout(600)
RUN = "window.ran=(window.ran||0)+1"
TAGS = (
    "<script>{run}</script>",
    "<img src=x onerror={run}>",
    "<svg onload={run}>",
    "<svg><script>{run}</script></svg>",
    "<body onload={run}>",
    "<iframe srcdoc='<script>parent.{run}</script>'></iframe>",
    "<iframe src=javascript:{run}></iframe>",
    "<a href=javascript:{run} autofocus onfocus={run}>x</a>",
    "<input autofocus onfocus={run}>",
    "<details open ontoggle={run}>",
    "<video><source onerror={run}></video>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror={run}>",
    "<object data=javascript:{run}>",
    "<embed src=javascript:{run}>",
    "<meta http-equiv=refresh content='0;url=javascript:{run}'>",
    "<link rel=stylesheet href=https://elsewhere.example/x.css>",
    "<img src=https://elsewhere.example/x.png>",
    "<style>@import 'https://elsewhere.example/x.css';</style>",
    "<base href=https://elsewhere.example/>",
    "<form action=https://elsewhere.example/><button>x</button></form>",
)
BREAKOUTS = (
    "",
    "\"'>",
    "</title>",
    "</textarea>",
    "</script>",
    "-->",
    "]]>",
    "{{{{7*7}}}}",
    "{{% raw %}}",
    "javascript:",
)
PAYLOADS: Sequence[str] = tuple(f"{out}{tag}".format(run=RUN) for out in BREAKOUTS for tag in TAGS)
A_PLAN = 20
HIDDEN = "pay \u202eevil\u202c \u200bnow \U000e0041"
PAGES = ("", "?view=story", "/graph")
TABS = ("why", "evidence", "provenance")


async def _planted(scene: Scene) -> list[str]:
    """Put every payload where an attacker can put words: intents, names, addresses, texts, keys and values."""
    traces = []
    async with scene.client(Role.AGENT, subject=AGENT) as client:
        for at in range(0, len(PAYLOADS), A_PLAN):
            plan = PlanBuilder(PAYLOADS[at], environment="production", session_id=f"s-{at}")
            for number, payload in enumerate(PAYLOADS[at : at + A_PLAN]):
                source = plan.source("tool_result", payload, name=payload, origin_uri=payload, tool="web/fetch")
                plan.step("email/send", {"to": payload, "subject": HIDDEN, payload: [payload]}, influenced_by=[source])
                assert number < A_PLAN
            traces.append((await client.decide(plan.build())).decision.trace_id)
    return traces


@pytest.fixture(scope="module")
def planted(scene: Scene) -> list[str]:
    return scene.run(_planted(scene))


async def _events(scene: Scene, trace_id: str) -> list[str]:
    async with scene.client() as client:
        return [event.event_id for event in (await client.trace(trace_id)).events if event.type == "decision.concluded"]


def _look(visit: Visit, path: str, wrong: list[str]) -> None:
    visit.go(path)
    ran = visit.page.evaluate("() => window.ran || 0")
    foreign = visit.page.evaluate(
        "() => document.querySelectorAll('main script, main img, main iframe, main object, main embed, main base,"
        " main style, main link, main meta, [onerror], [onload], [onfocus], [ontoggle]').length"
    )
    if ran or foreign:
        wrong.append(f"{path}: {ran} ran, {foreign} foreign elements")


def test_none_of_two_hundred_hostile_texts_is_anything_but_text(
    browser: Browser, scene: Scene, planted: list[str]
) -> None:
    assert len(set(PAYLOADS)) == 200
    wrong: list[str] = []
    with visiting(browser, scene) as visit:
        visit.page.on("dialog", lambda dialog: wrong.append(dialog.message))
        for path in ("/traces", "/", "/metrics", "/agents"):
            _look(visit, path, wrong)
        for trace_id in planted:
            [event] = scene.run(_events(scene, trace_id))
            for page in PAGES:
                _look(visit, f"/traces/{trace_id}{page}", wrong)
            for tab in TABS:
                _look(visit, f"/traces/{trace_id}/events/{event}?tab={tab}", wrong)
        assert visit.outside == []
        assert visit.complaints == []
    assert wrong == []


def test_hidden_characters_are_drawn_and_counted(browser: Browser, scene: Scene, planted: list[str]) -> None:
    [event] = scene.run(_events(scene, planted[0]))
    with visiting(browser, scene) as visit:
        visit.go(f"/traces/{planted[0]}/events/{event}?tab=provenance")
        chips = set(visit.page.locator(".chip").all_inner_texts())
        assert {"U+202E", "U+202C", "U+200B", "U+E0041"} <= chips
        raw = visit.page.locator("main").inner_text()
        assert not set("\u202e\u202c\u200b\U000e0041") & set(raw)
