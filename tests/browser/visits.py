"""How the tests look at a page: what it loaded, what it complained about, how heavy it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Request

from tests.scenes.planes.ui_scene import PERSON, Scene

# Rendering on a machine that is busy with the other tests may take a while.
PATIENCE_MS = 60_000
SHOTS = os.environ.get("AISECOPS_SCREENSHOTS", "")


@dataclass
class Visit:
    """A page with everything that happened on it."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a page of the UI and wait until it stands still."""
        self.sizes.clear()
        answer = self.page.goto(self.origin + path, wait_until="load", timeout=PATIENCE_MS)
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"

    def forget_everything(self) -> None:
        """Load every file of every page anew, as on a first visit."""
        self.page.context.new_cdp_session(self.page).send("Network.setCacheDisabled", {"cacheDisabled": True})

    @property
    def kilobytes(self) -> float:
        """Return what came over the wire for the last page."""
        return sum(self.sizes) / 1024

    def shoot(self, name: str) -> None:
        """Keep a picture where one is asked for."""
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


@contextmanager
def watching(browser: Browser, origin: str, **options: Any) -> Iterator[Visit]:
    """Open a window of its own, of which everything that happens is noted."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    visit = Visit(page, origin)
    page.on("console", lambda message: visit.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: visit.complaints.append(f"error: {error}"))
    page.on("request", lambda request: _note_outside(visit, request))
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.on("Network.loadingFinished", lambda loaded: visit.sizes.append(int(loaded["encodedDataLength"])))
    try:
        yield visit
    finally:
        context.close()


@contextmanager
def visiting(browser: Browser, scene: Scene, *, person: str = PERSON, **options: Any) -> Iterator[Visit]:
    """Open a window of its own, signed in by a link."""
    with watching(browser, scene.origin, **options) as visit:
        visit.page.goto(scene.link(subject=person), timeout=PATIENCE_MS)
        visit.page.get_by_role("button", name="Sign in").click()
        visit.page.wait_for_load_state("load")
        yield visit


def _note_outside(visit: Visit, request: Request) -> None:
    if not request.url.startswith((f"{visit.origin}/", "data:")):
        visit.outside.append(request.url)
