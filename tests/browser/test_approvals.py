"""The inbox in a real browser: identical requests are one group, and answered together, each by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.canary import Canary
from tests.browser.hostile_texts import hostile_texts, parcels, seen
from tests.browser.test_screens import CHECKED, NARROW
from tests.browser.visits import visiting
from tests.scenes.approvals.requests import APPROVER, asked
from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(600)
_UNTYPED = re.compile("[\\0\r\ud800-\udfff]")
OTHER_APPROVER = "gita.rao@corp.example"


def identical(scene: Scene, version: str, **words: str) -> list[str]:
    return [scene.run(asked(scene, version=version, step=step, **words)) for step in ("a", "b", "c")]


def told(page: Page, same: Sequence[str]) -> list[str]:
    """Return what the page says became of each."""
    rows = [page.locator("tbody tr", has=page.locator(f"a[href='/approvals/{one}']")) for one in same]
    return [row.locator("td").nth(2).inner_text() for row in rows]


def test_a_group_is_looked_at_and_answered_by_keys_with_one_reason(browser: Browser, scene: Scene) -> None:
    same = identical(scene, "8.1")
    with visiting(browser, scene, person=APPROVER) as visit:
        page = visit.page
        visit.go("/approvals")
        card = page.locator("article", has=page.locator(f"a[href='/approvals/{same[0]}']"))
        expect(card).to_contain_text("×3 identical")
        card.get_by_role("link", name="Look at them and answer together").click()
        expect(page.locator("main")).to_contain_text("Exactly this would run")
        page.get_by_label("Note").fill("One release, asked for three times.")
        page.get_by_label("Note").press("Escape")
        page.keyboard.press("Shift+D")
        page.keyboard.press("Shift+D")
        expect(page.locator("#deny-all")).to_be_focused()
        page.keyboard.press("Shift+A")
        expect(page.locator("#approve")).to_be_focused()
        page.keyboard.press("Shift+A")
        expect(page.locator("#approve-all")).to_be_focused()
        # Meanwhile somebody else answers one of them.
        with visiting(browser, scene, person=OTHER_APPROVER) as elsewhere:
            elsewhere.go(f"/approvals/{same[1]}")
            elsewhere.page.get_by_role("button", name="Deny", exact=True).click()
            expect(elsewhere.page.locator("h1")).to_contain_text("rejected")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("2 of 3 answers count")
        assert [said.startswith("counts") for said in told(page, same)] == [True, False, True]
        expect(page.locator("main")).to_contain_text("One release, asked for three times.")
        expect(page.locator("main")).to_contain_text(OTHER_APPROVER)
        visit.shoot("answered")
        assert visit.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_became_of_each_shuts_nobody_out(browser: Browser, scene: Scene, theme: str) -> None:
    same = identical(scene, f"8.2.{len(theme)}")
    with visiting(browser, scene, person=APPROVER, color_scheme=theme, viewport=NARROW) as visit:
        visit.go(f"/approvals/{same[0]}")
        visit.page.get_by_role("button", name="Deny all 3").click()
        expect(visit.page.locator("h1")).to_have_text("3 of 3 answers count")
        found = Axe().run(visit.page, options={"runOnly": CHECKED[theme]}).response["violations"]
        assert found == []
        assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= NARROW["width"]
        assert visit.complaints == []


def test_a_group_is_answered_without_scripts(browser: Browser, scene: Scene) -> None:
    same = identical(scene, "8.3")
    with visiting(browser, scene, person=APPROVER, java_script_enabled=False) as visit:
        page = visit.page
        visit.go("/approvals")
        page.locator(f"article:has(a[href='/approvals/{same[0]}'])").get_by_role("link", name="answer together").click()
        page.get_by_label("Note").fill("Read on paper.")
        page.get_by_role("button", name="Approve all 3, each once").click()
        expect(page.locator("h1")).to_have_text("3 of 3 answers count")
        assert told(page, same) == ["counts"] * 3


def test_hostile_words_in_a_group_and_in_its_answer_are_words(browser: Browser, scene: Scene) -> None:
    # A field of a form takes every line end for the same, holds no half of a character, and counts some as two.
    typed = [one for one in hostile_texts() if not _UNTYPED.search(one.text)]
    notes = [note for note, _ in parcels(typed, characters=500)]
    intents = [intent for intent, _ in parcels(hostile_texts(), characters=4_096)]
    with visiting(browser, scene, person=APPROVER) as visit:
        canary = Canary.watching(visit.page.context, scene.origin)
        for number, note in enumerate(notes):
            same = identical(scene, f"9.{number}", intent=intents[number % len(intents)])
            visit.go(f"/approvals/{same[0]}")
            visit.page.get_by_label("Note").fill(note)
            visit.page.locator("#deny-all").click()
            expect(visit.page.locator("h1")).to_have_text("3 of 3 answers count")
            assert canary.caught(visit.page, seen(note)) == []


def count_of(page: Page) -> int:
    """Return how many requests wait, as the title says; that the page says the same beside the section is checked."""
    found = re.match(r"\((\d+)\) ", page.title())
    count = int(found[1]) if found else 0
    badge = page.locator(".top .count")
    expect(badge).to_have_text(str(count))
    expect(badge).to_be_visible(visible=count > 0)
    return count


def _listens_at(path: str) -> Callable[[Request], bool]:
    return lambda request: request.url.endswith("/waiting") and request.frame.url.endswith(path)


def test_the_title_counts_what_waits_as_it_changes_in_every_tab_by_one_connection(
    browser: Browser, scene: Scene
) -> None:
    with visiting(browser, scene, person=APPROVER) as visit:
        context, first = visit.page.context, visit.page
        asked_for: list[str] = []
        with first.expect_event("request", _listens_at("/traces")):
            visit.go("/traces")
        context.on("request", lambda request: asked_for.append(request.url) if "/waiting" in request.url else None)
        before = count_of(first)
        second = context.new_page()
        second.goto(f"{scene.origin}/approvals")
        approval = scene.run(asked(scene, version="30.1"))
        for page in (first, second):
            expect(page).to_have_title(re.compile(rf"^\({before + 1}\) "))
            assert count_of(page) == before + 1
        assert asked_for == []
        # The tab that listened goes, another one takes its place.
        first.close()
        other = scene.run(asked(scene, version="30.2"))
        expect(second).to_have_title(re.compile(rf"^\({before + 2}\) Approvals"))
        assert len(asked_for) == 1
        for one in (approval, other):
            with visiting(browser, scene, person=OTHER_APPROVER) as elsewhere:
                elsewhere.go(f"/approvals/{one}")
                elsewhere.page.get_by_role("button", name="Deny", exact=True).click()
                expect(elsewhere.page.locator("h1")).to_contain_text("rejected")
        expect(second).to_have_title(re.compile(rf"^\({before}\) Approvals" if before else "^Approvals"))
        assert count_of(second) == before
        assert visit.complaints == []
        assert visit.outside == []


def test_until_when_somebody_may_answer_is_told_in_the_readers_own_time_too(browser: Browser, scene: Scene) -> None:
    request = scene.run(asked(scene, version="32.1"))
    with visiting(browser, scene, person=APPROVER, timezone_id="Asia/Kolkata", locale="en-GB") as visit:
        for path in ("/approvals", f"/approvals/{request}"):
            visit.go(path)
            due = visit.page.locator("time[data-due]").first
            at = datetime.fromisoformat(due.get_attribute("datetime") or "")
            expect(due).to_have_text(f"{at:%Y-%m-%d %H:%M:%S}Z")
            here = at.astimezone(ZoneInfo("Asia/Kolkata"))
            expect(due.locator("+ .due")).to_have_text(re.compile(rf"^{here:%a}.* {here:%H:%M} GMT\+5:30, in \d+ "))
        assert visit.complaints == []
    with visiting(browser, scene, person=APPROVER, timezone_id="UTC") as visit:
        visit.page.clock.install()
        visit.go(f"/approvals/{request}")
        expect(visit.page.locator(".due")).to_have_text(re.compile(r"^in \d+ (h \d+ )?min$|^in \d+ days$"))
        visit.page.clock.fast_forward(30 * 86_400_000)
        expect(visit.page.locator(".due")).to_have_text("over")
    with visiting(browser, scene, person=APPROVER, java_script_enabled=False) as visit:
        visit.go(f"/approvals/{request}")
        expect(visit.page.locator("time[data-due]")).to_have_text(re.compile(r"Z$"))


def test_who_signs_out_hears_no_more(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene, person=APPROVER) as visit:
        page = visit.page
        with page.expect_event("request", _listens_at("/system")):
            visit.go("/system")
        before = count_of(page)
        kept = page.context.new_page()
        kept.goto(f"{scene.origin}/traces")
        scene.run(asked(scene, version="31.1"))
        expect(kept).to_have_title(re.compile(rf"^\({before + 1}\) "))
        # The other tab takes its turn to listen, and is told that nobody is signed in.
        with kept.expect_response("**/waiting") as told:
            page.get_by_role("button", name="Sign out").click()
        assert told.value.status == 401
        scene.run(asked(scene, version="31.2"))
        assert count_of(kept) == before + 1
        assert [one for one in visit.complaints if "401" not in one] == []
