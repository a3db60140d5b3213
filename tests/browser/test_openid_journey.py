"""A person signs in with an OpenID provider, in a browser, and sees the traces."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import Visit, watching
from tests.scenes.planes.ui_scene import Scene, ui_scene
from tests.scenes.servers.openid_provider import NOA, openid_provider, with_agents

# To a browser, another site than the UI's.
ELSEWHERE = "127.0.0.2"
BUTTON = f"Sign in with {ELSEWHERE}"
# What the provider's pages load; they are not ours.
FONTS = "https://fonts.googleapis.com/"
pytestmark = pytest.mark.timeout(300)
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with openid_provider(host=ELSEWHERE) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def scene(provider: str) -> Iterator[Scene]:
    with ui_scene(prepare=partial(with_agents, provider)) as served:
        yield served


def _sign_in_there(page: Page) -> None:
    page.locator('input[name="login"]').fill(NOA)
    page.locator('input[name="password"]').fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def _no_fault(page: Page) -> None:
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        found = Axe().run(page, options={"runOnly": {"type": "tag", "values": STANDARDS}})
        assert found.violations_count == 0, found.generate_report()


def _ours(visit: Visit) -> list[str]:
    return [text for text in visit.complaints if visit.origin in text or "Content Security Policy" in text]


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_person_signs_in_by_a_redirect_and_sees_the_trace_that_was_asked_for(
    browser: Browser, scene: Scene, provider: str, *, scripts: bool
) -> None:
    trace = f"/traces/{scene.traces['ticket-asks-for-customers']}"
    with watching(browser, scene.origin, java_script_enabled=scripts) as visit:
        visit.page.route(f"{FONTS}**", lambda route: route.abort())
        visit.go(trace)
        button = visit.page.get_by_role("button", name=BUTTON)
        expect(button).to_be_visible()
        if scripts:
            _no_fault(visit.page)
        button.click()
        _sign_in_there(visit.page)
        visit.page.wait_for_url(scene.origin + trace)
        expect(visit.page.get_by_role("heading", level=1)).to_be_visible()
        # The session is known at the very next page, wherever the browser came from.
        visit.go("/traces")
        expect(visit.page.get_by_text("blocked").first).to_be_visible()
        assert {cookie["name"] for cookie in visit.page.context.cookies(scene.origin)} >= {"aisecops"}
        assert "aisecops-sign-in" not in {cookie["name"] for cookie in visit.page.context.cookies(scene.origin)}
        assert _ours(visit) == []
        assert {url for url in visit.outside if not url.startswith((f"{provider}/", FONTS))} == set()


def test_who_signs_out_is_told_where_else_to_because_the_provider_asks_for_no_password_again(
    browser: Browser, scene: Scene, provider: str
) -> None:
    with watching(browser, scene.origin) as visit:
        visit.go("/")
        visit.page.get_by_role("button", name=BUTTON).click()
        _sign_in_there(visit.page)
        visit.page.wait_for_url(f"{scene.origin}/")
        visit.page.get_by_role("button", name="Sign out").click()
        there = visit.page.get_by_role("link", name="sign out there as well")
        expect(there).to_have_attribute("href", f"{provider}/session/end?client_id=aisecops-ui")
        _no_fault(visit.page)
        # The provider still knows the person, and asks for no password.
        visit.page.get_by_role("button", name=BUTTON).click()
        visit.page.get_by_role("button", name="Continue").click()
        visit.page.wait_for_url(f"{scene.origin}/")
        visit.go("/traces")


def test_an_answer_from_elsewhere_signs_nobody_in_and_says_what_to_do(browser: Browser, scene: Scene) -> None:
    with watching(browser, scene.origin) as visit:
        visit.page.goto(f"{scene.origin}/sign-in/callback?code=stolen&state={'0' * 32}")
        expect(visit.page.get_by_role("alert")).to_contain_text("Begin again")
        _no_fault(visit.page)
