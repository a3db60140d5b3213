"""From a fact that a rule read to its place in the input document, and the lines of Rego that held."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visits import visiting
from tests.scenes.planes.ui_scene import Scene
from tests.support import opa_binary

pytestmark = pytest.mark.timeout(600)


def concluded(scene: Scene) -> str:
    trace = f"/traces/{scene.traces['ticket-asks-for-customers']}"
    events = json.loads(scene.get(f"{trace}.json")[2])["trace"]["events"]
    return f"{trace}/events/{next(one['eventId'] for one in events if one['type'] == 'decision.concluded')}"


@pytest.mark.parametrize("scripts", [True, False])
def test_a_fact_leads_to_its_place_in_the_document(browser: Browser, scene: Scene, *, scripts: bool) -> None:
    with visiting(browser, scene, java_script_enabled=scripts) as visit:
        page = visit.page
        visit.go(concluded(scene))
        fact = page.locator("article.finding dl.kv a").first
        pointer = fact.inner_text()
        fact.click()
        expect(page.locator("nav.tabs a[aria-current]")).to_have_text("Evidence")
        assert page.url.endswith(f"?tab=evidence#{pointer}")
        line = page.locator(".document :target")
        expect(line).to_be_in_viewport()
        assert line.get_attribute("id") == pointer


def test_a_line_of_the_document_has_a_link_of_its_own(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go(f"{concluded(scene)}?tab=evidence")
        line = page.locator(".document span[id$='/tool']").first
        line.click()
        expect(page).to_have_url(re.compile(r"\?tab=evidence#/plan/steps/0/tool$"))
        # The parts fold one by one.
        part = page.locator(".document details", has=page.locator("summary", has_text=re.compile("^plan$")))
        part.locator("summary").click()
        expect(line).to_be_hidden()
        assert visit.complaints == []


def test_the_lines_that_held_are_marked_by_a_sign_and_in_words(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene, java_script_enabled=False) as visit:
        page = visit.page
        visit.go(f"{concluded(scene)}?tab=rego")
        rule = page.locator("section", has=page.locator("h2", has_text="provenance.destination_dictated"))
        held = rule.locator("li.held")
        assert held.count() > 2
        assert all("held: " in text for text in held.all_text_contents())
        sign = "one => getComputedStyle(one.querySelector('code'), '::before').content"
        assert held.first.evaluate(sign) == '"✓"'
        # A comment is reached by nothing.
        comment = rule.locator("li", has_text=re.compile(r"^\s*#")).first
        assert "held" not in (comment.get_attribute("class") or "")
        visit.shoot("event-rego-held")


def test_the_line_for_an_opa_of_ones_own_gives_the_same_decision(
    browser: Browser, scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "opa").symlink_to(opa_binary())
    with visiting(browser, scene) as visit:
        visit.go(f"{concluded(scene)}?tab=rego")
        visit.page.get_by_text("Decide it with an OPA of your own").click()
        line = visit.page.locator("#own-opa").inner_text()
    found_in = f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin"
    at_home = {**os.environ, "AISECOPS_STATE_DIR": str(scene.settings.state_dir), "PATH": found_in}
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=at_home, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"rule": "provenance.destination_dictated"' in done.stdout
