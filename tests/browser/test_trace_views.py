"""What investigators do with the list of traces and with an event beside its trace."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

import pytest
from aisecops_server.demo.scenario import scenarios
from aisecops_server.entrypoints.web.trace_facets import PILLS
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.visits import PATIENCE_MS, visiting
from tests.scenes.approvals.requests import asked
from tests.scenes.planes.ui_scene import PERSON, Scene

pytestmark = pytest.mark.timeout(600)
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp"
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def test_a_value_is_added_by_a_click_and_left_out_with_alt_and_turned_round_without_scripts(
    browser: Browser, scene: Scene
) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces")
        every = page.locator("tbody tr").count()
        page.locator("a.cell", has_text="blocked").first.click()
        expect(page.locator(".narrowed")).to_contain_text("outcome:blocked", timeout=PATIENCE_MS)
        blocked = page.locator("tbody tr").count()
        page.locator("tbody a.cell.mono", has_text="email/send").first.click(modifiers=["Alt"])
        expect(page.locator(".narrowed")).to_contain_text("-tool:email/send", timeout=PATIENCE_MS)
        assert "outcome%3Ablocked" in page.url
        assert 0 < page.locator("tbody tr").count() < blocked < every
        expect(page.locator("tbody")).not_to_contain_text("email/send")
        assert visit.complaints == []
    with visiting(browser, scene, java_script_enabled=False) as visit:
        visit.go("/traces?q=outcome:blocked")
        visit.page.locator(".term", has_text="outcome:blocked").get_by_role("link", name="not", exact=True).click()
        expect(visit.page.locator(".narrowed")).to_contain_text("-outcome:blocked")
        assert visit.page.locator("tbody tr").count() == every - blocked
        expect(visit.page.locator("tbody .s-blocked")).to_have_count(0)


def test_columns_stand_in_the_address_and_stay_with_every_link(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene, java_script_enabled=False) as visit:
        page = visit.page
        visit.go("/traces")
        for name in ("plans", "steps", "lasted", "tokens", "cost", "policy"):
            page.locator(".chooser summary").click()
            page.locator(".chooser").get_by_role("link", name=name, exact=True).click()
        assert page.locator("thead th").all_inner_texts() == [
            *("started", "outcome", "intent", "agent", "lowest trust", "rule", "gates", "tools")
        ]
        page.locator(".facet").get_by_role("link", name=re.compile(r"^blocked \d+$")).click()
        assert "cols=started.outcome.intent.agent.trust.rule.gates.tools" in page.url
        page.get_by_role("button", name="Search").click()
        assert page.locator("thead th").count() == 8
    status, _, body = scene.get("/traces.json?cols=started.passwords")
    assert (status, "there is no column 'passwords'" in body.decode()) == (400, True)


def test_what_an_investigation_asks_first_is_one_click_and_a_term_of_the_query(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene, java_script_enabled=False) as visit:
        page = visit.page
        visit.go("/traces")
        everything, pills = page.locator("tbody tr").count(), page.get_by_role("group", name="Asked first")
        for word, term in PILLS.items():
            pill = pills.get_by_role("link", name=re.compile(rf"^{re.escape(word)} \d+$"))
            count = int(pill.inner_text().split()[-1])
            pill.click()
            expect(page.locator("#q")).to_have_value(term)
            expect(pills.locator("[aria-current]")).to_have_text(f"{word} {count}")
            status, _, body = scene.get("/traces.json?" + urlencode({"q": term}))
            found = json.loads(body)["page"]["traces"]
            assert (status, len(found), count) == (200, page.locator("tbody tr").count(), len(found))
            # The same click takes it back.
            pill.click()
            expect(page.locator("#q")).to_have_value("")
            expect(page.locator("tbody tr")).to_have_count(everything)
        # One that asks for the same field takes the place of what was asked of it, and the others stay.
        visit.go("/traces?q=trust:trusted+-tool:crm/*")
        pills.get_by_role("link", name="untrusted source").click()
        expect(page.locator("#q")).to_have_value("-tool:crm/* trust:<internal")


def test_where_a_trace_was_stopped_is_seen_in_its_line_and_told_in_words(browser: Browser, scene: Scene) -> None:
    trace = scene.traces["ticket-asks-for-customers"]
    with visiting(browser, scene) as visit:
        visit.go("/traces")
        line = visit.page.locator(f"#t-{trace}")
        expect(line.locator("svg.gates path.g-blocked")).to_have_count(1)
        said = line.locator("td span:has(> svg.gates) .sr").inner_text()
        assert "policy blocked" in said
        # The strips of its steps say the same.
        visit.go(f"/traces/{trace}")
        assert "policy blocked" in " ".join(visit.page.locator("table.steps .sr").all_inner_texts())
        visit.go("/traces?q=outcome:allowed+-rule:*")
        expect(visit.page.locator("tbody svg.gates path.g-blocked")).to_have_count(0)
        expect(visit.page.locator("tbody td span:has(> svg.gates) .sr").first).to_have_text("no gate objected")
        assert visit.complaints == []


def test_columns_say_what_a_trace_does_and_took(browser: Browser, scene: Scene) -> None:
    status, _, body = scene.get("/traces.json?q=effect:changing+steps:>1".replace(">", "%3E"))
    traces = json.loads(body)["page"]["traces"]
    assert (status, bool(traces)) == (200, True)
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces?cols=started.intent.effects.steps.tokens.cost.budget&q=effect:changing+steps:>1")
        expect(page.locator("thead th")).to_have_text(
            ["started", "intent", "effects", "steps", "tokens", "cost", "budget"]
        )
        for row, trace in zip(page.locator("tbody tr").all(), traces, strict=True):
            cells = row.locator("td").all_inner_texts()
            assert (cells[2].split(), cells[3]) == (trace["effects"], trace["steps"])
        charged = json.loads(scene.get("/traces.json?q=budget:%3E0%25")[2])["page"]["traces"][0]
        visit.go(f"/traces/{charged['traceId']}")
        share = charged["budgetShare"] // 100
        expect(page.locator(".facts")).to_contain_text(f"fullest budget at {share} %")
        visit.go("/traces?cols=started.intent.effects.steps&q=effect:changing+steps:>1")
        page.locator("tbody .cell", has_text="send").first.click(modifiers=["Alt"])
        expect(page.locator("#q")).to_have_value("effect:changing steps:>1 -effect:send", timeout=PATIENCE_MS)
        assert visit.complaints == []


def test_values_with_counts_narrow_and_leave_out_and_what_hides_everything_is_dropped(
    browser: Browser, scene: Scene
) -> None:
    with visiting(browser, scene, java_script_enabled=False) as visit:
        page = visit.page
        visit.go("/traces?q=outcome:blocked")
        page.locator(".choices summary", has_text="tool").click()
        value = page.locator(".choices[open] .pill").first
        word, count = value.inner_text().split()
        value.click()
        expect(page.locator("#q")).to_have_value(f"outcome:blocked tool:{word}")
        expect(page.locator("tbody tr")).to_have_count(int(count))
        visit.go("/traces?q=outcome:blocked+tool:nothing/*")
        hides = page.locator(".empty li", has_text="tool:nothing/*")
        expect(hides).to_contain_text(re.compile(r"hides \d+"))
        count = hides.inner_text().rpartition(" ")[2]
        hides.get_by_role("link").click()
        expect(page.locator("tbody tr")).to_have_count(int(count))
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces")
        page.locator(".choices summary", has_text="rule").click()
        value = page.locator(".choices[open] .pill").first
        word = value.inner_text().split()[0]
        value.click(modifiers=["Alt"])
        expect(page.locator("#q")).to_have_value(f"-rule:{word}", timeout=PATIENCE_MS)
        assert visit.complaints == []


def test_a_named_view_is_kept_for_its_person_and_its_name_is_only_text(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces?q=outcome:blocked&cols=started.intent")
        page.locator(".views summary").click()
        page.get_by_label("Name of this view").fill(HOSTILE)
        page.get_by_role("button", name="Save this view").click()
        view = page.locator(".views li a")
        expect(view).to_have_text("<img src=x onerror=alert(1)>[U+202E]gnp")
        visit.go("/traces")
        page.locator(".views summary").click()
        visit.shoot("trace-views")
        result = Axe().run(page, options={"runOnly": {"type": "tag", "values": STANDARDS}})
        assert [one["id"] for one in result.response["violations"]] == []
        view.click()
        expect(page).to_have_url(re.compile(r"\?q=outcome%3Ablocked&cols=started\.intent$"), timeout=PATIENCE_MS)
        # Whatever gets into the storage, a view leads to the list of this origin.
        kept = [
            {"name": "away", "to": "https://elsewhere.example/traces"},
            {"name": "script", "to": "javascript:alert(1)"},
            {"name": "other page", "to": "/sign-out"},
            {"name": ["x"], "to": "/traces"},
            {"name": "good", "to": "/traces?q=outcome:allowed"},
        ]
        page.evaluate("([key, value]) => localStorage.setItem(key, value)", [f"views:{PERSON}", json.dumps(kept)])
        visit.go("/traces")
        page.locator(".views summary").click()
        expect(page.locator(".views li a")).to_have_text(["good"])
        page.get_by_role("button", name="Forget: good").click()
        expect(page.locator(".views li")).to_have_count(0)
        page.evaluate("([key, value]) => localStorage.setItem(key, value)", [f"views:{PERSON}", "{no json"])
        visit.go("/traces")
        expect(page.locator(".views")).to_be_visible()
        assert visit.complaints == []
        assert visit.outside == []


def test_rows_move_apart_by_a_key_and_the_server_remembers_it(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces")
        row = page.locator("tbody tr").first
        before = (row.bounding_box() or {})["height"]
        with page.expect_response("**/preferences"):
            page.keyboard.press("d")
        assert (row.bounding_box() or {})["height"] > before
        visit.go(f"/traces/{scene.traces['ticket-asks-for-customers']}")
        expect(page.locator("html")).to_have_attribute("data-density", "comfortable")
        # The theme is another preference, and stays as it was.
        page.locator("[data-theme-switch]").click()
        expect(page.locator("html")).to_have_attribute("data-density", "comfortable", timeout=PATIENCE_MS)
        assert visit.complaints == []


def test_an_event_opens_beside_its_trace_follows_the_row_and_stands_in_the_address(
    browser: Browser, scene: Scene
) -> None:
    trace = f"/traces/{scene.traces['ticket-asks-for-customers']}"
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go(trace)
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        pane = page.get_by_role("complementary", name="The event")
        expect(pane.locator("nav.tabs")).to_be_visible(timeout=PATIENCE_MS)
        box = pane.bounding_box()
        assert box is not None
        assert abs(box["width"] / 1440 - 0.42) < 0.01
        first = page.url
        assert "event=" in first
        assert "#s" in first
        page.keyboard.press("j")
        expect(page).not_to_have_url(first)
        expect(page.locator("tr.at")).to_have_id(page.url.partition("#")[2])
        pane.locator("nav.tabs").get_by_role("link", name="Rego").click()
        expect(pane.locator("nav.tabs a[aria-current]")).to_have_text("Rego", timeout=PATIENCE_MS)
        assert "tab=rego" in page.url
        visit.shoot("event-pane")
        result = Axe().run(page, options={"runOnly": {"type": "tag", "values": STANDARDS}})
        assert [one["id"] for one in result.response["violations"]] == []
        here = page.url
        visit.go("/traces")
        visit.go(here.removeprefix(visit.origin))
        expect(pane.locator("nav.tabs a[aria-current]")).to_have_text("Rego", timeout=PATIENCE_MS)
        expect(page.locator("tr.at")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(pane).to_have_count(0)
        assert "event=" not in page.url
        assert page.url.startswith(f"{visit.origin}{trace}#s")
        assert visit.complaints == []


def test_on_a_narrow_screen_and_without_scripts_an_event_is_a_page(browser: Browser, scene: Scene) -> None:
    trace = f"/traces/{scene.traces['ticket-asks-for-customers']}"
    with visiting(browser, scene, viewport={"width": 900, "height": 800}) as visit:
        visit.go(trace)
        visit.page.locator("table.steps a.open").first.click()
        visit.page.wait_for_url("**/events/**", timeout=PATIENCE_MS)
        event = visit.page.url.rpartition("/")[2]
    with visiting(browser, scene, java_script_enabled=False) as visit:
        visit.go(f"{trace}?event={event}&tab=integrity")
        visit.page.get_by_role("link", name="The event of this link").click()
        expect(visit.page.locator("nav.tabs a[aria-current]")).to_have_text("Integrity")
        visit.go(f"{trace}?event=evt-somebody-elses&tab=x")
        expect(visit.page.locator(".elsewhere-event")).to_have_count(0)


def test_escape_returns_to_the_same_row_of_the_list(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces?q=outcome:blocked")
        for _ in range(3):
            page.keyboard.press("j")
        row = page.locator("tr.at").get_attribute("id")
        page.keyboard.press("Enter")
        page.wait_for_url("**/traces/*", timeout=PATIENCE_MS)
        page.keyboard.press("Escape")
        expect(page).to_have_url(re.compile(rf"q=outcome:blocked#{row}$"), timeout=PATIENCE_MS)
        expect(page.locator("tr.at")).to_have_id(row or "")


def test_a_replay_is_not_begun_with_a_query_of_numbers_which_decisions_do_not_have(scene: Scene) -> None:
    cookie = {"Cookie": scene.cookie()}
    page = scene.ask("GET", "/replays/new", headers=cookie)[2].decode()
    key = re.search(r'name="key" value="([0-9a-f]+)"', page)
    assert key
    form = {
        "key": key[1],
        "q": "-outcome:allowed plans:>1",
        "changes": "approvals.tools.crm/issue_refund.amount_over=50",
    }
    status, _, body = scene.ask("POST", "/replays/start", headers=cookie, form=form)
    assert (status, "is asked of traces, and a replay chooses decisions" in body.decode()) == (400, True)


def test_terms_are_completed_one_by_one_from_what_there_is(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces")
        field = page.locator("#q")
        field.fill("outcome:blocked -tool:ema")
        offered = page.locator("#terms option")
        expect(offered).to_have_count(2)
        expect(offered.nth(0)).to_have_attribute("value", "outcome:blocked -tool:email/*")
        expect(offered.nth(1)).to_have_attribute("value", "outcome:blocked -tool:email/send")
        field.fill("-trust:<")
        expect(offered).to_have_attribute("value", "-trust:<internal")
        field.fill("outcome:blocked tr")
        values = [option.get_attribute("value") for option in offered.all()]
        assert values[:2] == ["outcome:blocked trust:", "outcome:blocked trust:trusted"]
        assert visit.complaints == []


def test_newer_traces_are_told_of_and_no_row_jumps(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        page.clock.install()
        visit.go("/traces")
        first = page.locator("tbody tr").first.get_attribute("id")
        told = page.locator("a.newer")
        with page.expect_response("**/traces.json*"):
            page.clock.run_for(21_000)
        expect(told).to_be_hidden()
        scene.run(scene.decide([one for one in scenarios() if one.id == "answer-ticket"]))
        with page.expect_response("**/traces.json*"):
            page.clock.run_for(21_000)
        expect(told).to_have_text("1 newer trace: show")
        assert page.locator("tbody tr").first.get_attribute("id") == first
        told.click()
        expect(page.locator("tbody tr").nth(1)).to_have_id(first or "")
        assert visit.complaints == []


def test_a_list_leads_to_a_replay_and_to_evidence_of_just_these(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go("/traces?q=outcome:blocked")
        page.get_by_role("link", name="Replay these").click()
        expect(page.locator("input[name=q]")).to_have_value("outcome:blocked")
        visit.go("/traces?q=outcome:blocked+-tool:email/*")
        page.get_by_role("link", name="Replay these").click()
        expect(page.locator("input[name=q]")).to_have_value("outcome:blocked -tool:email/*")
        visit.go("/traces?q=outcome:blocked+plans:>0")
        expect(page.get_by_role("link", name="Replay these")).to_have_count(0)
        page.get_by_role("link", name="Evidence of these").click()
        expect(page.locator("input[name=q]")).to_have_value("outcome:blocked plans:>0")


def test_the_command_of_a_page_is_copied_by_a_key(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene, permissions=["clipboard-read", "clipboard-write"]) as visit:
        page, trace = visit.page, scene.traces["ticket-asks-for-customers"]
        copied = "() => navigator.clipboard.readText()"
        visit.go("/traces?q=outcome:blocked+-tool:email/send")
        page.keyboard.press("y")
        expect(page.locator("[data-command]")).to_have_text("Copied")
        assert page.evaluate(copied) == "aisecops trace list --where 'outcome:blocked -tool:email/send'"
        visit.go(f"/traces/{trace}")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator(".pane [data-command]")).to_be_visible(timeout=PATIENCE_MS)
        page.keyboard.press("y")
        expect(page.locator(".pane [data-command]")).to_have_text("Copied")
        decision = scene.decisions["ticket-asks-for-customers"]
        assert page.evaluate(copied) == f"aisecops explain {decision}"
        assert visit.complaints == []


def test_a_key_leaves_only_what_is_around_a_node(browser: Browser, scene: Scene) -> None:
    with visiting(browser, scene) as visit:
        page = visit.page
        visit.go(f"/traces/{scene.traces['ticket-asks-for-customers']}/graph")
        node = page.locator("a.node.k-source.t-external")
        name = node.locator("text.name").text_content() or "none"
        node.focus()
        page.keyboard.press("f")
        page.wait_for_url("**focus=**", timeout=PATIENCE_MS)
        expect(page.get_by_role("link", name="Show all, not only around")).to_contain_text(name)
        assert visit.complaints == []


def test_a_request_is_answered_by_keys_that_ask_again(browser: Browser, scene: Scene) -> None:
    scene.run(scene.decide([one for one in scenarios() if one.id == "release"]))
    found = json.loads(scene.get("/approvals.json?state=requested")[2])["page"]["approvals"]
    with visiting(browser, scene, person="finn.olsen@corp.example") as visit:
        page = visit.page
        visit.go(f"/approvals/{found[0]['approvalId']}")
        assert re.match(r"\(\d+\) ", page.title())
        page.keyboard.press("Shift+D")
        expect(page.locator("#deny")).to_be_focused()
        page.keyboard.press("Shift+A")
        expect(page.locator("#approve")).to_be_focused()
        expect(page.locator("h1")).to_contain_text("waits")
        assert visit.complaints == []


def test_a_trace_that_goes_on_says_so_and_shows_it_when_asked(browser: Browser, scene: Scene) -> None:
    trace = "e" * 32
    scene.run(asked(scene, version="40.1", trace=trace))
    with visiting(browser, scene) as visit:
        page, rows = visit.page, visit.page.locator("table.steps tbody tr")
        with page.expect_event("request", lambda request: "/live?after=" in request.url):
            visit.go(f"/traces/{trace}")
        coming = page.locator("[data-coming]")
        expect(coming).to_be_hidden()
        scene.run(asked(scene, version="40.2", trace="f" * 32))
        scene.run(asked(scene, version="40.3", trace=trace))
        expect(coming).to_have_text(re.compile(r"^\d+ new events: show$"), timeout=PATIENCE_MS)
        told = int((coming.text_content() or "0").split()[0])
        events = json.loads(scene.get(f"/traces/{trace}.json")[2])["trace"]["events"]
        expect(coming).to_have_text(
            f"{sum(one['decisionId'] != events[0]['decisionId'] for one in events)} new events: show"
        )
        assert 0 < told < len(events)
        # Nothing moves until it is asked for.
        assert rows.count() == 1
        coming.click()
        expect(rows).to_have_count(2, timeout=PATIENCE_MS)
        expect(page.locator("[data-coming]")).to_be_hidden()
        assert visit.complaints == []
        assert visit.outside == []
