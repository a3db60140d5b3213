"""A trace of ten thousand events: it is whole, light, and drawn only as far as it is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aisecops_client.plan import PlanBuilder
from aisecops_server.domain.callers.identity import Role
from playwright.sync_api import Browser, expect

from tests.browser.visits import Visit, visiting
from tests.integration.api.real import AGENT
from tests.scenes.planes.ui_scene import Scene, ui_scene

pytestmark = pytest.mark.timeout(600)
EVENTS = 10_000
KILOBYTES = 120
MOST_NODES = 1500
BATCH = 100
TRACE = "0af7651916cd43dd8448eb211c80319c"


async def _filled(scene: Scene) -> int:
    plan = PlanBuilder("Look up many orders.", environment="production", trace_id=TRACE, session_id="long")
    source = plan.source("user_prompt", "Look up customer C-20417.", name="request")
    plan.step("crm/read_customer", {"customer_id": "C-20417"}, id="look", influenced_by=[source])
    events = 0
    async with scene.client(Role.AGENT, subject=AGENT) as client:
        while events < EVENTS:
            answers = await client.decide_batch([plan.build()] * BATCH)
            assert all(hasattr(answer, "decision") for answer in answers), answers[0]
            events = (await scene.plane.log.head()).size
    return events


def columns(visit: Visit) -> dict[str, Any]:
    """Return what the page holds of all rows."""
    found: dict[str, Any] = json.loads(visit.page.locator("table").get_attribute("data-columns") or "")
    return found


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ui_scene(populated=False) as served:
        yield served


@pytest.mark.slow
def test_ten_thousand_events_are_light_and_all_reachable(browser: Browser, scene: Scene) -> None:
    scene.run(_filled(scene), seconds=400)
    with visiting(browser, scene) as visit:
        visit.forget_everything()
        visit.go(f"/traces/{TRACE}?fold=0")
        rows = len(columns(visit)["at"])
        expect(visit.page.locator("table[data-ready]")).to_be_attached()
        assert visit.kilobytes <= KILOBYTES
        # Until the rows are drawn, a key scrolls to the end of what was there before them.
        visit.page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        # The browser scrolls when it comes to it, so each key is seen to have been followed before the next.
        for key, row in (("End", rows - 1), ("Home", 0), ("End", rows - 1)):
            visit.page.keyboard.press(key)
            expect(visit.page.locator(f"#s{row}")).to_be_attached()
        nodes = int(visit.page.evaluate("() => document.querySelectorAll('*').length"))
        assert nodes <= MOST_NODES
        visit.go("/traces")
        visit.go(f"/traces/{TRACE}?fold=0#s{rows // 2}")
        expect(visit.page.locator(f"#s{rows // 2}.at")).to_be_visible()
        visit.shoot("long-trace")
        assert visit.complaints == []


def test_what_is_drawn_from_columns_says_what_the_rows_of_the_page_say(browser: Browser, scene: Scene) -> None:
    scene.run(_filled(scene), seconds=400)
    with visiting(browser, scene, java_script_enabled=False) as visit:
        visit.go(f"/traces/{TRACE}?fold=0&start=80")
        plain = visit.page.locator("tbody tr").all_inner_texts()
        held = columns(visit)
    assert len(plain) == 40 < len(held["at"])
    with visiting(browser, scene) as visit:
        visit.go(f"/traces/{TRACE}?fold=0#s80")
        expect(visit.page.locator("table[data-ready]")).to_be_attached()
        drawn = [visit.page.locator(f"#s{at}").inner_text() for at in range(80, 84)]
    assert drawn == plain[:4]
    assert [held["step"][80], held["tools"][held["tool"][80]]] == plain[0].split("\t")[1:3]


def test_without_scripts_it_comes_in_pages(browser: Browser, scene: Scene) -> None:
    scene.run(_filled(scene), seconds=400)
    with visiting(browser, scene, java_script_enabled=False) as visit:
        visit.go(f"/traces/{TRACE}?fold=0")
        first = visit.page.locator("tbody tr").first.get_attribute("id")
        visit.page.get_by_role("link", name="after").click()
        assert (first, visit.page.locator("tbody tr").first.get_attribute("id")) == ("s0", "s40")


async def _looped(scene: Scene, trace: str) -> None:
    """Have a trace of thirty loops of three plans that are alike, with another plan between them."""
    plans = []
    for names in (("look",) * 3, ("look-again",)):
        for name in names:
            plan = PlanBuilder("Look up orders.", environment="production", trace_id=trace, session_id="loops")
            source = plan.source("user_prompt", "Look up customer C-20417.", name="request")
            plan.step("crm/read_customer", {"customer_id": "C-20417"}, id=name, influenced_by=[source])
            plans.append(plan.build())
    async with scene.client(Role.AGENT, subject=AGENT) as client:
        await client.decide_batch(plans * 30)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_loop_is_one_row_that_leads_to_each_of_it(browser: Browser, scene: Scene, *, scripts: bool) -> None:
    trace = ("1" if scripts else "2") * 32
    scene.run(_looped(scene, trace), seconds=100)
    with visiting(browser, scene, java_script_enabled=scripts) as visit:
        visit.go(f"/traces/{trace}")
        rows = columns(visit)
        assert (len(rows["at"]), set(rows["times"].values())) == (60, {3})
        shown = [visit.page.locator(f"#s{at}").inner_text().split("\t")[1] for at in (0, 3, 4)]
        assert shown == ["look ×3", "look-again", "look ×3"]
        visit.page.locator("#s4 .times").click()
        visit.page.wait_for_url(f"**/traces/{trace}?fold=0#s4")
        assert len(columns(visit)["at"]) == 120
        expect(visit.page.locator("#s5")).to_be_attached()
        assert visit.page.locator(".times").count() == 0
        visit.page.get_by_role("link", name="fold loops").click()
        visit.page.wait_for_url(f"**/traces/{trace}")
        if scripts:
            # A link to a step of a loop leads to its row.
            visit.go("/traces")
            visit.go(f"/traces/{trace}#s9")
            expect(visit.page.locator("#s8.at")).to_be_visible()
            visit.shoot("loops")
        assert visit.complaints == []


def test_who_searches_is_shown_every_step_of_a_loop(browser: Browser, scene: Scene) -> None:
    trace = "3" * 32
    scene.run(_looped(scene, trace), seconds=100)
    with visiting(browser, scene) as visit:
        visit.go(f"/traces/{trace}?find=look-again")
        assert visit.page.locator("tbody tr").count() == 30
        assert visit.page.get_by_role("link", name="folded").count() == 0
