"""What people come for, from the first click to the last."""

from __future__ import annotations

import json
import re
from pathlib import Path

import aisecops_verify
import pytest
from aisecops_server.demo.scenario import scenarios
from aisecops_server.domain.callers.identity import Role
from playwright.sync_api import Browser, expect

from tests.browser.visits import PATIENCE_MS, visiting
from tests.scenes.planes.ui_scene import PERSON, Scene

# Many pages in one test, on a machine that may be busy with others.
pytestmark = pytest.mark.timeout(600)
PHONE = {"width": 390, "height": 844}
APPROVER = "finn.olsen@corp.example"


def test_from_the_list_to_why_by_keys_alone(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces")
        page.keyboard.press("n")
        expect(page.locator("tr.at")).to_have_count(1)
        chosen = page.locator("tr.at a.open").inner_text()
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_contain_text(chosen)
        # What is pressed before the page's scripts are there is nobody's.
        page.wait_for_load_state("load")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator("article.finding").first).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("nav.tabs")).to_contain_text("Story")
        page.keyboard.press("Escape")
        expect(page.locator("h1")).to_have_text("Traces")
        page.wait_for_load_state("load")
        page.keyboard.press("?")
        expect(page.locator("dialog#keys")).to_be_visible()
        assert visit.complaints == []


def test_going_somewhere_by_keys(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        for key, heading in (("t", "Traces"), ("a", "Approvals"), ("m", "Metrics"), ("b", "Policy"), ("l", "Rollouts")):
            visit.page.keyboard.press("g")
            visit.page.keyboard.press(key)
            expect(visit.page.locator("h1")).to_have_text(heading)


def test_the_theme_is_remembered_and_comes_from_the_server(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene, java_script_enabled=False, color_scheme="light") as visit:
        visit.go("/traces")
        visit.page.get_by_role("button", name="Dark").click()
        expect(visit.page.locator("html")).to_have_attribute("data-theme", "dark")
        visit.go("/approvals")
        expect(visit.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_node_of_the_graph_lights_what_led_to_it(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go(f"/traces/{scene.traces['ticket-asks-for-customers']}/graph")
        outcome = page.locator("a.node.k-outcome")
        outcome.focus()
        expect(page.locator("path.edge.lit").first).to_be_attached()
        expect(page.locator("a.node.k-source.t-external.away")).to_have_count(0)
        page.keyboard.press("ArrowLeft")
        expect(page.locator("a.node:focus")).to_have_count(1)
        page.keyboard.press("Enter")
        expect(page.locator("nav.tabs")).to_contain_text("Provenance")
        assert visit.complaints == []


@pytest.fixture
def waiting(scene: Scene) -> str:
    """Return a request for approval that waits."""
    scene.run(scene.decide([one for one in scenarios() if one.id == "release"]))
    found = json.loads(scene.get("/approvals.json?state=requested")[2])["page"]["approvals"]
    return next(one["approvalId"] for one in found if one["tools"] == ["deploy/release"])


def test_a_person_agrees_on_a_phone_and_the_second_answer_comes_too_late(
    browser: Browser, scene: Scene, waiting: str
) -> None:
    with visiting(browser, scene, person=APPROVER, viewport=PHONE) as visit:
        page = visit.page
        visit.go("/approvals")
        page.locator(f"a[href='/approvals/{waiting}']").click()
        expect(page.get_by_role("button", name="Approve this once")).to_be_visible()
        visit.shoot("approval-phone")
        stale = page.context.new_page()
        stale.goto(page.url)
        page.get_by_label("Note").fill("Checked with the release plan.")
        page.get_by_role("button", name="Approve this once").click()
        expect(page.locator("h1")).to_contain_text("granted")
        expect(page.locator("main")).to_contain_text("Checked with the release plan.")
        stale.get_by_role("button", name="Deny").click()
        expect(stale.locator("h1")).to_have_text("Too late")


def test_who_may_not_answer_is_offered_no_button(browser: Browser, scene: Scene) -> None:
    cookie = scene.cookie(Role.AUDITOR)
    listed = scene.ask("GET", "/approvals?state=all", headers={"Cookie": cookie})[2].decode()
    request = re.search(r"/approvals/(apr-[0-9a-f]+)", listed)
    assert request
    body = scene.ask("GET", f"/approvals/{request[1]}", headers={"Cookie": cookie})[2].decode()
    assert "Approve this once" not in body


def test_a_replay_is_asked_for_and_reviewed_what_lets_more_through_first(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/replays/new")
        page.get_by_label("With which values of tables changed").fill(
            "approvals.tools.crm/issue_refund.amount_over=50\napprovals.tools.payments/create_transfer.amount_over=5000"
        )
        page.get_by_role("button", name="Start").click()
        expect(page.locator("dl.buckets")).to_be_visible(timeout=60_000)
        expect(page.locator("main .facts").first).to_contain_text("done", timeout=60_000)
        groups = page.locator("section.groups ol li")
        expect(groups.first).to_contain_text("escalated")
        assert groups.first.inner_text().index("escalated") < groups.first.inner_text().index("allowed")
        expect(groups.first).to_contain_text("payments/create_transfer.amount_over")
        expect(groups.last).to_contain_text("crm/issue_refund.amount_over")
        groups.last.get_by_role("link").click()
        expect(page.locator("section.change")).to_contain_text("Would be")
        assert visit.complaints == []


def test_a_group_is_judged_with_a_reason_and_another_ticked_by_keys_alone(browser: Browser, scene: Scene) -> None:
    replay = scene.replayed(
        "approvals.tools.crm/issue_refund.amount_over=40",
        "approvals.tools.payments/create_transfer.amount_over=5000",
    )
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go(f"/replays/{replay}")
        groups = page.locator("section.groups ol li")
        total = groups.count()
        expect(page.locator("section.groups .facts")).to_contain_text(
            f"you have seen 0 of {total}", timeout=PATIENCE_MS
        )
        page.keyboard.press("e")
        page.keyboard.type("<b>Nobody</b> asked for it.")
        page.get_by_role("button", name="Unexpected", exact=True).first.click()
        words = page.get_by_role("region", name="Review of this group")
        expect(words.locator("li")).to_contain_text("<b>Nobody</b> asked for it.", timeout=PATIENCE_MS)
        expect(words.locator("li")).to_contain_text(PERSON, timeout=PATIENCE_MS)
        expect(groups.first).to_contain_text("unexpected", timeout=PATIENCE_MS)
        page.keyboard.press("J")
        expect(groups.nth(1)).to_have_class("at", timeout=PATIENCE_MS)
        page.keyboard.press("v")
        expect(groups.nth(1)).to_contain_text("seen", timeout=PATIENCE_MS)
        expect(page.locator("section.groups .facts")).to_contain_text(
            f"you have seen 2 of {total}", timeout=PATIENCE_MS
        )
        assert visit.complaints == []


def test_evidence_is_the_package_that_verifies(browser: Browser, scene: Scene, tmp_path: Path) -> None:
    with visiting(browser, scene) as visit:
        visit.go(f"/traces/{scene.traces['answer-ticket']}")
        with visit.page.expect_download() as download:
            visit.page.get_by_role("button", name="Make and download the package").click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
    assert aisecops_verify.main([str(path)]) == 0
