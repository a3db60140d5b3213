"""The UI over an evidence package, as its reader starts it: no state, no engine, and nothing that can be changed."""

from __future__ import annotations

import html
import http.client
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from aisecops_server.adapters.evidence.package_log import open_package
from aisecops_server.domain.errors import IntegrityError

from tests.scenes.evidence import opened_packages
from tests.scenes.evidence.opened_packages import made, started
from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(300)
UNVERIFIED = 9


class Opened:
    """A reader with the link that the command printed."""

    def __init__(self, link: str) -> None:
        self.address = urlsplit(link).netloc
        code = parse_qs(urlsplit(link).query)["code"][0]
        status, headers, _ = self.ask("POST", "/sign-in", form={"code": code, "next": "/"})
        assert status == 303
        self.cookie = headers["set-cookie"].partition(";")[0]

    def ask(
        self, method: str, path: str, *, form: dict[str, str] | None = None, cookie: str = ""
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        headers = {"Cookie": cookie} | ({"Content-Type": "application/x-www-form-urlencoded"} if form else {})
        try:
            connection.request(method, path, urlencode(form) if form else None, headers)
            answer = connection.getresponse()
            body = answer.read().decode()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body
        finally:
            connection.close()

    def get(self, path: str) -> str:
        status, _, body = self.ask("GET", path, cookie=self.cookie)
        assert status == 200, f"{path}: {status} {body}"
        return body


@pytest.fixture(scope="module")
def package(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(scene, tmp_path_factory.mktemp("package") / "case.zip")


@pytest.fixture(scope="module")
def opened(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    home = tmp_path_factory.mktemp("home")
    with opened_packages.opened(package, home) as link:
        yield Opened(link)
        assert [path for path in home.rglob("*") if path.is_file()] == []


def told(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a summary with its times as exact as events tell them: in microseconds."""
    return {name: value[:26].rstrip("Z") if name.endswith("At") else value for name, value in summary.items()}


def test_a_trace_reads_as_where_it_was_decided(scene: Scene, opened: Opened) -> None:
    listed = json.loads(opened.get("/traces.json"))["page"]["traces"]
    assert {one["traceId"] for one in listed} == set(scene.traces.values())
    for trace in set(scene.traces.values()):
        found = json.loads(opened.get(f"/traces/{trace}.json"))["trace"]
        asked = json.loads(scene.get(f"/traces/{trace}.json")[2])["trace"]
        assert told(found["summary"]) == told(asked["summary"])
        assert found["decisions"] == asked["decisions"]
        assert [one["bodyJson"] for one in found["events"]] == [one["bodyJson"] for one in asked["events"]]
    blocked = json.loads(opened.get("/traces.json?q=outcome:blocked"))["page"]["traces"]
    assert 0 < len(blocked) < len(listed)


def test_every_page_says_what_it_is_and_offers_nothing_to_change(scene: Scene, opened: Opened) -> None:
    trace = scene.traces["ticket-asks-for-customers"]
    events = json.loads(opened.get(f"/traces/{trace}.json"))["trace"]["events"]
    event = next(one["eventId"] for one in events if one["type"] == "decision.concluded")
    tabs = [
        f"/traces/{trace}/events/{event}?tab={tab}" for tab in ("why", "evidence", "provenance", "rego", "integrity")
    ]
    for path in ("/", "/traces", f"/traces/{trace}", f"/traces/{trace}?view=story", f"/traces/{trace}/graph", *tabs):
        page = opened.get(path)
        assert "not a control plane: nothing here can be changed" in page, path
        assert "Its proofs hold" in page, path
        assert set(re.findall(r'action="([^"]*)"', page)) <= {"/preferences", "/sign-out", "/traces", ""}, path
    assert "tlog-proof@v1" in opened.get(tabs[-1])
    assert "the log key is the package&#39;s own word" in opened.get("/")


def test_the_rego_of_a_decision_is_that_of_the_bundle_that_made_it(scene: Scene, opened: Opened) -> None:
    revision = scene.plane.live.current().bundle.revision
    shown = 0
    for trace in set(scene.traces.values()):
        for event in json.loads(opened.get(f"/traces/{trace}.json"))["trace"]["events"]:
            if event["type"] != "decision.concluded":
                continue
            address = f"/traces/{trace}/events/{event['eventId']}"
            here, there = (
                json.loads(read(f"{address}.json")) for read in (opened.get, lambda path: scene.get(path)[2])
            )
            findings = here["explanation"]["decision"]["findings"]
            assert findings == there["explanation"]["decision"]["findings"]
            page = opened.get(f"{address}?tab=rego")
            assert "The file is not shown" not in page
            for rule in {found["rule"] for found in findings}:
                assert f"package aisecops.rules.{rule}" in page
                shown += 1
            for file in {found["location"]["file"] for found in findings}:
                read = [json.loads(one)["file"]["content"] for one in _file_in_both(scene, opened, revision, file)]
                assert read[0] == read[1]
    assert shown > 10


def _file_in_both(scene: Scene, opened: Opened, revision: str, file: str) -> tuple[str, bytes]:
    address = f"/revisions/{revision}/files/{file}.json"
    return opened.get(address), scene.get(address)[2]


def test_what_the_package_does_not_hold_of_a_policy_is_said(scene: Scene, opened: Opened) -> None:
    revision = scene.plane.live.current().bundle.revision
    for path, why in (
        (f"/revisions/{revision}/files/data/agents.yaml", "the package holds the Rego of a policy only"),
        (f"/revisions/{'0' * 40}/files/rego/aisecops/lib/lib.rego", "the package holds no policy of commit"),
    ):
        status, _, body = opened.ask("GET", path, cookie=opened.cookie)
        assert (status, why in body) == (404, True), body


def test_every_link_of_a_page_leads_somewhere(scene: Scene, opened: Opened) -> None:
    trace = scene.traces["ticket-asks-for-customers"]
    events = json.loads(opened.get(f"/traces/{trace}.json"))["trace"]["events"]
    event = next(one["eventId"] for one in events if one["type"] == "decision.concluded")
    pages = ["/", "/traces", f"/traces/{trace}", f"/traces/{trace}/graph"]
    pages += [f"/traces/{trace}/events/{event}?tab={tab}" for tab in ("why", "provenance", "rego", "integrity")]
    links = {link for page in pages for link in re.findall(r'href="(/[^"#]*)', opened.get(page))}
    dead = {link for link in links if opened.ask("GET", html.unescape(link), cookie=opened.cookie)[0] != 200}
    assert dead == set()


def test_what_would_change_or_export_something_is_not_there(scene: Scene, opened: Opened) -> None:
    trace = scene.traces["answer-ticket"]
    for path in (f"/traces/{trace}/evidence", "/evidence/export", "/rollouts/start", "/replays/start"):
        assert opened.ask("POST", path, form={"key": "x"}, cookie=opened.cookie)[0] in (404, 405), path
    for path in ("/rollouts", "/revisions", "/revisions/main", "/approvals"):
        assert opened.ask("GET", path, cookie=opened.cookie)[0] in (303, 404), path
    for call in ("DecisionService/Decide", "BundleService/Activate", "AuditService/ListTraces"):
        assert opened.ask("POST", f"/api/v1/{call}", form={"a": "b"}, cookie=opened.cookie)[0] >= 400, call


def test_who_has_not_the_link_reads_nothing(opened: Opened) -> None:
    assert opened.ask("GET", "/traces.json")[0] == 401
    assert opened.ask("POST", "/sign-in", form={"code": "guess", "next": "/"})[0] == 401
    assert opened.ask("POST", "/sign-in", form={"token": "guess", "next": "/"})[0] == 401


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_a_package_with_a_byte_of_a_file_changed_is_not_opened(package: Path, share: float) -> None:
    content = bytearray(package.read_bytes())
    with zipfile.ZipFile(package) as archive:
        files = [entry for entry in archive.infolist() if entry.file_size]
    # A header of the archive holds what says nothing, such as times; what is in the files is what counts.
    chosen = files[round((len(files) - 1) * share)]
    content[chosen.header_offset + 30 + len(chosen.filename.encode()) + chosen.file_size // 2] ^= 1
    with pytest.raises(IntegrityError, match="does not verify"):
        open_package(bytes(content))


def test_the_command_refuses_a_changed_package_and_says_why(package: Path, tmp_path: Path) -> None:
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / "changed.zip"
    changed.write_bytes(content)
    process = started(changed, tmp_path)
    out, told = process.communicate(timeout=120)
    assert (process.returncode, out) == (UNVERIFIED, "")
    assert "does not verify" in told


def test_a_package_of_another_log_is_not_opened_for_who_knows_the_key(package: Path) -> None:
    with pytest.raises(IntegrityError, match="another evidence key"):
        open_package(package.read_bytes(), evidence_key="00" * 32)
