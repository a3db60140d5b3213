"""Two hundred texts that would run, break out, hide or steer, in every field that a page shows, in a real browser.

Nothing may run, load or become an element; whatever hides is drawn; the page keeps its shape. The twins at the end are
pages on which one field is not escaped: what the canary does not catch there, it could not catch on our pages either.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from aisecops_server.entrypoints.web.trace_page import EVENT_TABS
from playwright.sync_api import Browser, Page, expect

from tests.browser.canary import Canary, caught_in_frames
from tests.browser.hostile_scene import HostileScene, Look
from tests.browser.hostile_texts import HostileText, hidden_in, hostile_texts, seen
from tests.browser.visits import PATIENCE_MS, Visit, visiting, watching
from tests.scenes.evidence import opened_packages
from tests.scenes.evidence.forged_packages import Forger
from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(900)
CATEGORIES = 16
TALLEST_BAR = 120
LONGEST_ID = 480
TRACE_ID = re.compile("[0-9a-f]{32}")


@pytest.fixture(scope="module")
def hostile(scene: Scene) -> HostileScene:
    planted = HostileScene(scene)
    planted.plant()
    return planted


@pytest.fixture(scope="module")
def watched(browser: Browser, scene: Scene) -> Iterator[tuple[Visit, Canary]]:
    with visiting(browser, scene) as visit:
        canary = Canary.watching(visit.page.context, scene.origin)
        yield visit, canary


def _bent(page: Page) -> list[str]:
    """Return how a page lost its shape."""
    shape = page.evaluate(
        """() => ({
          wide: document.documentElement.scrollWidth - innerWidth,
          bar: document.querySelector('header.top')?.offsetHeight ?? 0,
          heads: document.querySelectorAll('main h1').length,
          under: !document.querySelector('footer') ||
            document.querySelector('footer').offsetTop >= document.querySelector('main').offsetHeight,
          hidden: [...document.querySelectorAll('main, h1')].filter((one) => !one.checkVisibility()).length,
        })"""
    )
    wanted = {"wide": shape["wide"] <= 0, "bar": shape["bar"] <= TALLEST_BAR, "heads": shape["heads"] == 1}
    wanted |= {"under": shape["under"], "hidden": shape["hidden"] == 0}
    return [f"{name}: {shape[name]}" for name, right in wanted.items() if not right]


def _hides(page: Page) -> list[str]:
    """Return the characters without a shape that stand on a page, in its text and in what is read aloud of it."""
    words = page.evaluate(
        """() => {
          const texts = [...document.querySelectorAll('body :not(textarea)')].flatMap((one) => [...one.childNodes]);
          const told = [...document.querySelectorAll('[aria-label], [title]')];
          return [document.title, ...texts.map((one) => one.nodeType === 3 ? one.data : ''),
            ...told.flatMap((one) => [one.ariaLabel, one.getAttribute('title')])].join(' ');
        }"""
    )
    return [f"U+{code:04X}" for code in sorted({ord(character) for character in hidden_in(words)})]


def _wrong(visit: Visit, canary: Canary, look: Look) -> list[str]:
    answer = visit.page.goto(visit.origin + look.path, wait_until="load")
    assert answer is not None
    assert answer.status < 500, look.path
    found = canary.caught(visit.page, *look.says)
    return [f"{look.path[:80]}: {what}" for what in (*found, *_bent(visit.page), *_hides(visit.page))]


def test_there_are_two_hundred_texts_of_many_kinds() -> None:
    texts = hostile_texts()
    assert len({one.text for one in texts}) == len(texts) >= 200
    assert len({one.category for one in texts}) == CATEGORIES


def test_no_hostile_text_is_anything_but_text_on_any_page(hostile: HostileScene, watched: tuple[Visit, Canary]) -> None:
    visit, canary = watched
    canary.trips.clear()
    visit.complaints.clear()
    wrong = [what for look in hostile.looks for what in _wrong(visit, canary, look)]
    refused = re.compile("Failed to load resource: the server responded with a status of 40[0-9]")
    assert wrong == []
    assert [complaint for complaint in visit.complaints if not refused.search(complaint)] == []


def test_what_a_link_fills_into_a_form_cannot_hide_there(hostile: HostileScene, watched: tuple[Visit, Canary]) -> None:
    visit, _ = watched
    for path, name in (("/evidence", "trace"), ("/replays/new", "to"), ("/rollouts", "revision")):
        visit.go(f"{path}?{name}=%E2%80%AEmain%E2%80%8B")
        expect(visit.page.locator("main form")).to_contain_text("2 hidden characters")


def _traces_of(hostile: HostileScene) -> set[str]:
    """Return the ids of the traces whose every word is hostile."""
    return {found[1] for look in hostile.looks if (found := re.fullmatch(r"/traces/([0-9a-f]{32})", look.path))}


@contextmanager
def _reading(browser: Browser, package: Path, home: Path) -> Iterator[tuple[Visit, Canary]]:
    """Open a package as its reader does, in a window that is watched from its first byte on."""
    with opened_packages.opened(package, home) as link:
        origin = f"http://{urlsplit(link).netloc}"
        with watching(browser, origin) as visit:
            canary = Canary.watching(visit.page.context, origin)
            visit.page.goto(link)
            visit.page.get_by_role("button", name="Sign in").click()
            visit.page.wait_for_load_state("load")
            yield visit, canary


def test_no_hostile_text_of_an_opened_package_is_anything_but_text(
    browser: Browser, hostile: HostileScene, tmp_path: Path
) -> None:
    # Addresses in which somebody else wrote are those of the pages above.
    of_traces = re.compile(
        r"/traces/[0-9a-f]{32}(?!.*[?&](find|focus)=)(?!/events/(?!evt-))|/revisions/\w+/files/rego/"
    )
    looks = [look for look in hostile.looks if of_traces.match(look.path)]
    traces = _traces_of(hostile)
    package = opened_packages.made(hostile.scene, tmp_path / "<img src=x onerror=ran()>\u202e\u200b.zip", traces)
    with _reading(browser, package, tmp_path) as (visit, canary):
        seen_of_it = [Look("/"), Look("/traces"), *looks]
        wrong = [what for look in seen_of_it for what in _wrong(visit, canary, look)]
        assert (wrong, visit.complaints, visit.outside) == ([], [], [])
        visit.go("/")
        expect(visit.page.locator("h1")).to_contain_text("<img src=x onerror=ran()>U+202EU+200B.zip")
    assert len(looks) > 2 * len(traces) > 0
    assert {seen(one.text) for one in hostile.texts} <= {text for look in looks for text in look.says}


@pytest.mark.parametrize("kept", ["nothing", "ids of traces"])
def test_a_package_of_which_its_maker_wrote_every_word_runs_nothing(
    browser: Browser, scene: Scene, hostile: HostileScene, tmp_path: Path, kept: str
) -> None:
    texts = [one.text for one in hostile_texts() if len(one.text) <= LONGEST_ID]
    forger = Forger(texts, identifiers=kept == "nothing")
    # Short traces, and those of so many steps that a script draws their rows.
    traces = {*scene.traces.values(), *_traces_of(hostile)}
    honest = opened_packages.made(scene, tmp_path / "honest.zip", traces).read_bytes()
    package = tmp_path / "forged.zip"
    package.write_bytes(forger.package(honest, tmp_path / "keys"))
    assert len(forger.said) > len(texts) >= 200
    with _reading(browser, package, tmp_path) as (visit, canary):
        wrong = _wrong(visit, canary, Look("/", [seen(texts[0])])) + _wrong(visit, canary, Look("/traces"))
        listed = json.loads(visit.page.request.get(f"{visit.origin}/traces.json").body())["page"]["traces"]
        assert len(listed) == len(traces)
        wrong += [
            what for one in listed for path in _pages_of(visit, one) for what in _wrong(visit, canary, Look(path))
        ]
        refused = re.compile("Failed to load resource: the server responded with a status of 40[0-9]")
        assert wrong == []
        assert [one for one in visit.complaints if not refused.search(one)] == []
        assert visit.outside == []


def _pages_of(visit: Visit, summary: Mapping[str, str]) -> Iterator[str]:
    """Yield the pages of a trace, and of the first event of it that concludes a decision."""
    at = f"/traces/{quote(summary['traceId'], safe='')}"
    yield from (at, f"{at}?view=events", f"{at}?view=story", f"{at}/graph")
    answer = visit.page.request.get(f"{visit.origin}{at}.json")
    # No trace has an id of another form, and who asks for one is told that; all others are there.
    assert answer.ok or not TRACE_ID.fullmatch(summary["traceId"])
    if answer.ok:
        events = json.loads(answer.body())["trace"]["events"]
        event = next(one["eventId"] for one in events if one["type"] == "decision.concluded")
        yield from (f"{at}/events/{quote(event, safe='')}?tab={tab}" for tab in EVENT_TABS)


FIELD = "MARKED-BY-THE-TEST"
BARE = f'<!doctype html><main><h1>{FIELD}</h1><input value="{FIELD}"></main>'
TWIN = "/twin"


@pytest.fixture(scope="module")
def page_of_a_trace(scene: Scene) -> tuple[str, str]:
    """Return a page of the UI as it is sent, with a marked field, and the rules that come with it."""
    status, headers, body = scene.get(f"/traces/{scene.traces['answer-ticket']}?find={FIELD}")
    assert status == 200
    page = re.sub(r"(?s)(<h1>.*?</span> ).*?</h1>", rf"\1{FIELD}</h1>", body.decode())
    return page, headers["content-security-policy"]


def _unescaped(page: str, one: HostileText) -> str:
    """Return the page with one field that is not escaped: the value of an input, an address, or a heading."""
    if one.place == "attribute":
        return page.replace(f'value="{FIELD}"', f'value="{one.text}"')
    link = f'<a href="{html.escape(one.text)}">{html.escape(one.text)}</a>'
    return page.replace(f"{FIELD}</h1>", f"{link if one.place == 'link' else one.text}</h1>")


def _framed(texts: Sequence[HostileText]) -> str:
    """Return a page that holds, each in a frame of its own, a page in which one of ``texts`` is not escaped."""
    frames = (
        f'<iframe name="{at}" srcdoc="{html.escape(_unescaped(BARE, one))}"></iframe>' for at, one in enumerate(texts)
    )
    return f"<!doctype html><main>{''.join(frames)}</main>"


@pytest.fixture
def twin(browser: Browser, scene: Scene) -> Iterator[Callable[..., tuple[Page, Canary]]]:
    """Give what opens a page of the UI's own address with any content, with or without the UI's rules."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    canary, page = Canary.watching(context, scene.origin), context.new_page()
    page.set_default_timeout(PATIENCE_MS)

    def opened(content: str, rules: str = "") -> tuple[Page, Canary]:
        headers = {"Content-Type": "text/html; charset=utf-8"} | ({"Content-Security-Policy": rules} if rules else {})
        page.unroute_all()
        page.route(f"**{TWIN}", lambda route: route.fulfill(headers=headers, body=content))
        canary.trips.clear()
        page.goto(scene.origin + TWIN, wait_until="load")
        return page, canary

    yield opened
    context.close()


def test_on_a_twin_without_escapes_and_rules_the_texts_run(twin: Callable[..., tuple[Page, Canary]]) -> None:
    running = [one for one in hostile_texts() if one.raw == "runs"]
    # A window has one focus.
    alone = [one for one in running if "autofocus" in one.text]
    together = [one for one in running if one not in alone]
    page, _ = twin(_framed(together))
    page.wait_for_function("(count) => [...Array(count).keys()].every((at) => frames[at].hasRun)", arg=len(together))
    for one in alone:
        page, _ = twin(_unescaped(BARE, one))
        page.wait_for_function("() => window.hasRun")
    assert len(running) > 70


def test_the_canary_catches_every_text_on_a_twin_that_does_not_escape(
    twin: Callable[..., tuple[Page, Canary]], page_of_a_trace: tuple[str, str]
) -> None:
    _, rules = page_of_a_trace
    # Those that run give themselves away by that, above; here are those that do not.
    texts = [one for one in hostile_texts() if one.raw != "runs"]
    page, canary = twin(_framed(texts), rules)
    found = dict(zip(texts, caught_in_frames(page, [seen(one.text) for one in texts]), strict=True))
    assert {str(one) for one, what in found.items() if not what} == {str(one) for one in texts if one.raw == "shows"}
    assert any("style-src" in what for what in canary.trips)


def test_a_page_of_ours_with_one_field_unescaped_is_found_out(
    twin: Callable[..., tuple[Page, Canary]], page_of_a_trace: tuple[str, str]
) -> None:
    page_as_sent, rules = page_of_a_trace
    page, canary = twin(page_as_sent, rules)
    assert canary.caught(page, FIELD) == []
    kinds = {one.category: one for one in hostile_texts() if one.raw != "shows"}
    for one in kinds.values():
        page, canary = twin(_unescaped(page_as_sent, one), rules)
        assert canary.caught(page, seen(one.text)), str(one)
