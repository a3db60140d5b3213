"""What is ticked in the list goes to a replay or a package together; a graph is drawn as large as it is wanted."""

from __future__ import annotations

import io
import re
import zipfile

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visits import visiting
from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("scripts", [True, False])
def test_what_is_ticked_and_nothing_else_is_replayed(browser: Browser, scene: Scene, *, scripts: bool) -> None:
    with visiting(browser, scene, java_script_enabled=scripts) as visit:
        page = visit.page
        visit.go("/traces")
        button = page.get_by_role("button", name="Replay the ticked…")
        # Nothing ticked would be everything.
        expect(button).to_be_hidden()
        boxes = page.locator(".pick")
        if scripts:
            page.keyboard.press("j")
            page.keyboard.press("x")
            page.keyboard.press("j")
            page.keyboard.press("x")
        else:
            boxes.nth(0).check()
            boxes.nth(1).check()
        expect(page.locator(".pick:checked")).to_have_count(2)
        picked = [boxes.nth(at).get_attribute("value") for at in range(2)]
        button.click()
        expect(page.get_by_label("Of which traces")).to_have_value(" ".join(map(str, picked)))
        page.get_by_label("With which values of tables changed").fill("approvals.tools.crm/issue_refund.amount_over=45")
        page.get_by_role("button", name="Start").click()
        page.wait_for_url(re.compile("/replays/[0-9a-z-]+$"))
        for _ in range(60):
            if page.locator("main .facts").first.inner_text().startswith("done"):
                break
            page.reload()
        expect(page.locator("main")).to_contain_text(re.compile("2 of 2 |Compared\\s*2"))


def test_a_package_is_made_of_what_is_ticked(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces?q=outcome:blocked")
        for at in (0, 2):
            page.locator(".pick").nth(at).check()
        picked = [str(page.locator(".pick").nth(at).get_attribute("value")) for at in (0, 2)]
        page.get_by_role("button", name="Evidence of the ticked…").click()
        expect(page.get_by_label("Of these traces")).to_have_value(" ".join(picked))
        with page.expect_download() as download:
            page.get_by_role("button", name="Make and download the package").click()
        content = download.value.path().read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            held = b"".join(package.read(name) for name in package.namelist())
        assert all(one.encode() in held for one in picked)
        assert visit.complaints == []


def test_a_graph_is_as_large_as_it_is_wanted_by_links_and_by_keys(browser: Browser, scene: Scene) -> None:
    graph = f"/traces/{scene.traces['ticket-asks-for-customers']}/graph"
    with visiting(browser, scene) as visit:
        page, drawn = visit.page, visit.page.locator("svg.graph")
        visit.go(f"{graph}?zoom=100")
        whole = (drawn.bounding_box() or {})["width"]
        page.keyboard.press("+")
        page.wait_for_url("**zoom=150")
        assert abs((drawn.bounding_box() or {})["width"] / whole - 1.5) < 0.01
        page.get_by_role("group", name="Size").get_by_role("link", name="25 %").click()
        page.wait_for_url("**zoom=25")
        assert abs((drawn.bounding_box() or {})["width"] / whole - 0.25) < 0.01
        page.keyboard.press("0")
        page.wait_for_url(re.compile("/graph$"))
        assert visit.complaints == []
    status, _, body = scene.get(f"{graph}?zoom=99")
    assert (status, "zoom is one of 25, 50, 75, 100, 150, 200" in body.decode()) == (400, True)
