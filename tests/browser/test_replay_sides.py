"""Both policies of a flip, side by side: the line that did it, what held on each side, and what did not matter."""

from __future__ import annotations

import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, expect

from tests.browser.visits import PATIENCE_MS, visiting
from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(600)
REFUND = "approvals.tools.crm/issue_refund.amount_over"
TRANSFER = "approvals.tools.payments/create_transfer.amount_over"
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="module")
def flip(scene: Scene) -> str:
    """Return the address of the flip of the refund, of a replay that changes two rows."""
    replay = scene.replayed(f"{REFUND}=50", f"{TRANSFER}=5000")
    groups = json.loads(scene.get(f"/replays/{replay}.json")[2])["groups"]["groups"]
    refund = next(one for one in groups if one["clauses"][0]["subject"] == REFUND)
    return f"/replays/{replay}?group={refund['groupId']}"


def row(table: Locator, text: str) -> Locator:
    return table.locator("tr", has_text=text).first


def test_the_row_the_rule_and_what_held_stand_side_by_side(browser: Browser, scene: Scene, flip: str) -> None:
    with visiting(browser, scene) as visit:
        visit.go(flip)
        visit.page.get_by_role("link", name="Both policies, side by side").click()
        sides = visit.page.get_by_role("region", name="Both policies")
        limit = row(sides.locator("table.facing").first, "crm/issue_refund.amount_over")
        expect(limit.locator("td.gone")).to_contain_text("amount_over: 100")
        expect(limit.locator("td.new")).to_contain_text("amount_over: 50")
        rule = sides.locator("table.facing", has_text="amount_over_limit.rego")
        negation = row(rule, "not within(amount, approval.amount_over)")
        expect(negation.locator("td.no").first).to_have_attribute("aria-label", "line 23, did not hold")
        expect(negation.locator("td.no").last).to_have_attribute("aria-label", "line 23, held")
        expect(sides).to_contain_text("1 line changed elsewhere did not matter here")
        visit.shoot("replay-sides")
        sides.get_by_role("link", name="Show what changed elsewhere").click()
        expect(visit.page.get_by_role("heading", name="What changed elsewhere")).to_be_visible(timeout=PATIENCE_MS)
        assert "elsewhere=1" in visit.page.url
        visit.page.get_by_role("link", name="Back to the lines that it hangs on").click()
        expect(visit.page.get_by_role("heading", name="Both policies, side by side")).to_be_visible(timeout=PATIENCE_MS)
        # A place in a commit is a link to the line there.
        visit.page.get_by_role("link", name="amount_over_limit.rego").first.click()
        expect(visit.page.locator("li:target")).to_be_visible(timeout=PATIENCE_MS)
        assert visit.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out_of_either_form_of_it(browser: Browser, scene: Scene, flip: str, theme: str) -> None:
    with visiting(browser, scene, color_scheme=theme) as visit:
        for path in (flip, f"{flip}&elsewhere=1"):
            visit.go(path)
            visit.shoot(f"replay-sides-{theme}")
            found = Axe().run(visit.page, options={"runOnly": {"type": "tag", "values": STANDARDS}})
            told = {one["id"]: [node["html"] for node in one["nodes"]][:3] for one in found.response["violations"]}
            assert told == {}


def test_on_a_phone_one_side_stands_below_the_other(browser: Browser, scene: Scene, flip: str) -> None:
    with visiting(browser, scene, viewport={"width": 320, "height": 720}, java_script_enabled=False) as visit:
        visit.go(flip)
        sides = visit.page.locator("#sides")
        limit = row(sides.locator("table.facing").first, "crm/issue_refund.amount_over")
        gone, new = (limit.locator(side).bounding_box() for side in ("td.gone", "td.new"))
        assert gone is not None
        assert new is not None
        assert gone["y"] < new["y"]
        assert gone["x"] == new["x"]
        # What is alike stands there once; what held on one side only stands there twice.
        alike = row(sides, "amount_argument")
        assert alike.locator("td").nth(1).is_visible() != alike.locator("td").nth(3).is_visible()
        expect(row(sides, "not within(amount").locator("td.no").first).to_be_visible()
        sides.scroll_into_view_if_needed()
        visit.shoot("replay-sides-phone")


def test_the_data_for_programs_has_all_of_it(scene: Scene, flip: str) -> None:
    path, _, query = flip.partition("?")
    sides = json.loads(scene.get(f"{path}.json?{query}")[2])["change"]["sides"]
    assert sides["elsewhereWeight"] == "DID_NOT_MATTER"
    lines = [line for file in sides["files"] for part in file["parts"] for line in part["lines"]]
    assert any(line["before"]["mark"] == "FAILED" and line["after"]["mark"] == "HELD" for line in lines)
    assert {line["concerns"] for line in lines if line["changed"]} == {True, False}
