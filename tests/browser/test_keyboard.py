"""Every screen by keys alone: Tab reaches all that can be used, in its order, shows where it is, and holds nobody."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_screens import SCREENS
from tests.browser.visits import visiting
from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(600)
# What can be used with a pointer, as far as it is there to be used.
_USABLE = """() => {
  const usable = 'a[href], button, input:not([type=hidden]), textarea, select, summary, [tabindex="0"]';
  const there = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.tabIndex >= 0;
  window.usable = [...document.querySelectorAll(usable)].filter(there);
  return window.usable.length;
}"""
_FOCUSED = """() => {
  const at = document.activeElement, look = getComputedStyle(at);
  const seen = look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) > 0;
  const node = at.matches('a.node') && getComputedStyle(at.querySelector('rect')).strokeWidth !== '1px';
  return [window.usable.indexOf(at), seen || node, at.outerHTML.slice(0, 90)];
}"""


def walked(page: Page) -> list[tuple[int, bool, str]]:
    """Return what Tab reaches: the place of each in the order of the page, whether it shows that it is, what it is."""
    reached = []
    for _ in range(int(page.evaluate(_USABLE))):
        page.keyboard.press("Tab")
        reached.append(tuple(page.evaluate(_FOCUSED)))
    return reached


def test_tab_reaches_everything_in_the_order_of_the_page_and_shows_where_it_is(browser: Browser, scene: Scene) -> None:
    wrong: dict[str, object] = {}
    with visiting(browser, scene) as visit:
        for name, path in SCREENS.items():
            visit.go(path(scene))
            reached = walked(visit.page)
            if [at for at, _, _ in reached] != [*range(len(reached))]:
                wrong[name] = [what for number, (at, _, what) in enumerate(reached) if at != number][:3]
            elif unseen := [what for _, is_seen, what in reached if not is_seen]:
                wrong[name] = unseen[:3]
        assert visit.complaints == []
    assert wrong == {}


def test_the_first_key_leads_past_what_every_page_has(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        for path in ("/traces", "/approvals", "/metrics"):
            visit.go(path)
            visit.page.keyboard.press("Tab")
            expect(visit.page.get_by_role("link", name="Skip to the content")).to_be_focused()
            visit.page.keyboard.press("Enter")
            expect(visit.page.locator("#main")).to_be_focused()
            visit.page.keyboard.press("Tab")
            assert visit.page.evaluate("() => document.querySelector('main').contains(document.activeElement)")


def test_the_key_sheet_is_opened_read_and_left_by_keys(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces")
        page.keyboard.press("?")
        sheet = page.locator("dialog#keys")
        expect(sheet).to_be_visible()
        # Keys of the page behind it do nothing meanwhile.
        page.keyboard.press("n")
        expect(page.locator("tr.at")).to_have_count(0)
        page.keyboard.press("Escape")
        expect(sheet).to_be_hidden()
        page.keyboard.press("n")
        expect(page.locator("tr.at")).to_have_count(1)


def test_keys_open_a_row_in_a_new_tab_and_copy_the_link_of_a_page(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene, permissions=["clipboard-read", "clipboard-write"]) as visit:
        page = visit.page
        visit.go("/traces?q=outcome:blocked")
        page.keyboard.press("j")
        row = page.locator("tr.at").get_attribute("id") or ""
        with page.context.expect_page() as opened:
            page.keyboard.press("o")
        expect(opened.value).to_have_url(re.compile(rf"/traces/{row.removeprefix('t-')}$"))
        opened.value.close()
        page.keyboard.press("c")
        assert page.evaluate("() => navigator.clipboard.readText()") == f"{visit.origin}/traces?q=outcome:blocked#{row}"
        # What is typed into a field is text.
        page.keyboard.press("/")
        page.keyboard.type("jkn?")
        expect(page.locator("#q")).to_have_value(re.compile(r"^outcome:blocked ?jkn\?$"))
        page.keyboard.press("Escape")
        expect(page.locator("#q")).not_to_be_focused()


def test_arrows_open_a_step_beside_the_list_with_its_gates_and_close_it(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go(f"/traces/{scene.traces['ticket-asks-for-customers']}")
        page.keyboard.press("n")
        page.keyboard.press("ArrowRight")
        pane = page.get_by_role("complementary", name="The event")
        gates = pane.get_by_role("list", name="Gates").get_by_role("listitem")
        expect(gates).to_have_count(8)
        expect(gates.filter(has_text="policy")).to_contain_text("blocked")
        gates.filter(has_text="policy").get_by_role("link").first.click()
        expect(pane.locator("article.meant")).to_be_in_viewport()
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("ArrowLeft")
        expect(pane).to_have_count(0)
        assert visit.complaints == []
