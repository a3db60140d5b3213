"""An evidence package as its reader walks it in a browser: whole, silent, accessible, and with nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.test_screens import CHECKED, NARROW
from tests.browser.visits import Visit, watching
from tests.scenes.evidence import opened_packages
from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(600)
RULE = "provenance.destination_dictated"


@pytest.fixture(scope="module")
def visit(browser: Browser, scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    package = opened_packages.made(scene, tmp_path_factory.mktemp("package") / "case.zip")
    with opened_packages.opened(package, tmp_path_factory.mktemp("home")) as link:
        origin = f"http://{urlsplit(link).netloc}"
        with watching(browser, origin) as visit:
            visit.page.goto(link)
            visit.page.get_by_role("button", name="Sign in").click()
            visit.page.wait_for_load_state("load")
            yield visit


@pytest.fixture(scope="module")
def pages(scene: Scene) -> list[str]:
    trace = f"/traces/{scene.traces['ticket-asks-for-customers']}"
    events = json.loads(scene.get(f"{trace}.json")[2])["trace"]["events"]
    event = next(one["eventId"] for one in events if one["type"] == "decision.concluded")
    tabs = [f"{trace}/events/{event}?tab={tab}" for tab in ("why", "evidence", "provenance", "rego", "integrity")]
    views = [f"{trace}?view=events", f"{trace}?view=story", f"{trace}/graph", f"{trace}/graph?fold=0"]
    return ["/", "/traces", "/traces?q=outcome:blocked", trace, *views, *tabs]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_silent_within_itself_and_accessible(visit: Visit, pages: list[str], theme: str) -> None:
    found = {}
    visit.page.emulate_media(color_scheme=theme)
    for path in pages:
        visit.go(path)
        visit.shoot(f"package-{path.rpartition('/')[2].replace('?', '-')}-{theme}")
        result = Axe().run(visit.page, options={"runOnly": CHECKED[theme]})
        found |= {f"{path}: {one['id']}": one["nodes"][0]["html"] for one in result.response["violations"]}
    assert (found, visit.complaints, visit.outside) == ({}, [], [])


def test_every_page_fits_a_phone(visit: Visit, pages: list[str]) -> None:
    wide = visit.page.viewport_size
    visit.page.set_viewport_size(NARROW)
    widths = {}
    for path in pages:
        visit.go(path)
        widths[path] = int(visit.page.evaluate("() => document.documentElement.scrollWidth"))
    visit.page.set_viewport_size(wide)
    assert {path: width for path, width in widths.items() if width > NARROW["width"]} == {}


def test_from_the_package_to_the_rule_that_decided_and_its_proof(visit: Visit, scene: Scene) -> None:
    page = visit.page
    visit.go("/")
    page.get_by_role("link", name="Its traces").click()
    page.locator(f"a.open[href='/traces/{scene.traces['ticket-asks-for-customers']}']").click()
    page.locator("table.steps tr[data-stopped] a.open").first.click()
    expect(page.locator("body")).to_contain_text("not decided again here: no engine runs beside a package")
    page.get_by_role("link", name="Rego", exact=True).click()
    expect(page.locator("body")).to_contain_text(f"package aisecops.rules.{RULE}")
    page.get_by_role("link", name="destination_dictated.rego:").click()
    expect(page.locator("h1")).to_have_text("destination_dictated.rego")
    expect(page.locator("li:target")).to_contain_text("package aisecops.rules")
    page.go_back()
    page.get_by_role("link", name="Integrity").click()
    expect(page.locator("body")).to_contain_text("tlog-proof@v1")
    assert (visit.complaints, visit.outside) == ([], [])
