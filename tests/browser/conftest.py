"""A real browser: Debian's Chromium, driven by Playwright. Where there is none, these tests say so and do not run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.scenes.planes.ui_scene import Scene, ui_scene

NO_BROWSER = "no Chromium: 'make browser' installs it where a package manager can, or set AISECOPS_CHROMIUM to one"


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("AISECOPS_CHROMIUM") or next((found for name in names if (found := shutil.which(name))), "")


# For one file at a time: while it is driven, no other test of this process can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    if not path:
        pytest.skip(reason=NO_BROWSER)
    with sync_playwright() as playwright:
        # Without a sandbox of its own: continuous integration runs as root in a container.
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ui_scene() as served:
        yield served
