"""A control plane on which nothing was asked yet: its list says what would stand there, and its own lines fill it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.test_screens import CHECKED, NARROW
from tests.browser.visits import visiting
from tests.scenes.planes.ui_scene import Scene, ui_scene

pytestmark = pytest.mark.timeout(600)
# What 'aisecops decide' answers: allowed, blocked, escalated.
DECIDED = (0, 3, 4)


@pytest.fixture(scope="module")
def nothing() -> Iterator[Scene]:
    with ui_scene(populated=False) as served:
        yield served


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out_of_a_list_without_traces(browser: Browser, nothing: Scene, theme: str) -> None:
    with visiting(browser, nothing, color_scheme=theme, viewport=NARROW) as visit:
        for path in ("/", "/traces"):
            visit.go(path)
            found = Axe().run(visit.page, options={"runOnly": CHECKED[theme]}).response["violations"]
            assert found == []
            assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= NARROW["width"]
        assert visit.complaints == []


def test_the_first_line_is_copied_and_makes_the_first_trace(browser: Browser, nothing: Scene) -> None:
    with visiting(browser, nothing, permissions=["clipboard-read", "clipboard-write"]) as visit:
        page = visit.page
        visit.go("/traces")
        expect(page.get_by_role("heading", name="No traces yet")).to_be_visible()
        page.get_by_role("button", name="Copy").first.click()
        line = page.evaluate("() => navigator.clipboard.readText()")
        assert line == page.locator("#line-1").text_content()
        found_in = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        at_home = {**os.environ, "AISECOPS_STATE_DIR": str(nothing.settings.state_dir), "PATH": found_in}
        # As people paste it.
        asked = subprocess.run(["/bin/sh", "-c", line], env=at_home, capture_output=True, timeout=120, check=False)
        assert asked.returncode in DECIDED, asked.stderr
        visit.go("/traces")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody")).to_contain_text("Find an answer")
        assert visit.complaints == []
