"""From the name of a tool to its trace, the rule that decided and the text that caused it: four clicks, or six keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import Visit, visiting
from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(600)
TOOL = "email/send"
MOST_CLICKS, MOST_KEYS = 4, 6
# What a person did, as the pages themselves were told; letters of the name that is typed into a field are the name.
_COUNTS = """
for (const kind of ['click', 'keydown']) addEventListener(kind, (event) => {
  const letter = event.target.matches?.('input, textarea') && event.key?.length === 1;
  if (event.isTrusted && (kind === 'click' ? event.detail > 0 : !letter)) window.counted(kind);
}, true);
"""


@contextmanager
def _counted(browser: Browser, scene: Scene) -> Iterator[tuple[Visit, list[str]]]:
    """Open a window that tells every click and key of its pages."""
    did: list[str] = []
    with visiting(browser, scene) as visit:
        visit.page.context.expose_binding("counted", lambda _source, kind: did.append(str(kind)))
        visit.page.context.add_init_script(_COUNTS)
        visit.go("/traces")
        yield visit, did


def _rule_is_shown(page: Page) -> None:
    expect(page.locator("main")).to_contain_text("package aisecops.rules.provenance.destination_dictated")
    expect(page.locator("main")).to_contain_text("destination_dictated.rego:")


def _source_is_shown(page: Page) -> None:
    expect(page.locator("mark.g-external").last).to_contain_text("@")
    expect(page.locator("main")).to_contain_text("tool result · external")


def test_four_clicks_lead_from_a_tool_to_the_trace_the_rule_and_the_source(browser: Browser, scene: Scene) -> None:
    with _counted(browser, scene) as (visit, did):
        page = visit.page
        page.locator("a.cell", has_text=TOOL).first.click()
        page.locator("tr[data-stopped] a.open").first.click()
        expect(page.locator("h1")).to_contain_text("blocked")
        page.get_by_role("link", name="rule and line").click()
        _rule_is_shown(page)
        page.get_by_role("link", name="Provenance", exact=True).click()
        _source_is_shown(page)
        assert visit.complaints == []
    assert (did.count("click"), did.count("keydown")) == (MOST_CLICKS, 0)


def test_six_keys_lead_from_a_tool_to_the_trace_the_rule_and_the_source(browser: Browser, scene: Scene) -> None:
    with _counted(browser, scene) as (visit, did):
        page = visit.page
        page.keyboard.press("/")
        page.keyboard.type(f"tool:{TOOL}")
        page.keyboard.press("Enter")
        expect(page.locator(".narrowed")).to_contain_text(TOOL)
        page.keyboard.press("n")
        expect(page.locator("tr.at")).to_have_count(1)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_contain_text("blocked")
        page.keyboard.press("r")
        _rule_is_shown(page)
        page.keyboard.press("p")
        _source_is_shown(page)
        assert visit.complaints == []
    assert did.count("keydown") == MOST_KEYS
    # Enter in a form and on a link is a click to the page, with no pointer; none was made with one.
    assert did.count("click") == 0
