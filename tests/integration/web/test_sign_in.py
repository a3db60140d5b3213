"""Who comes in, and who does not: links, sessions, tokens, forms of others, names of others."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from aisecops_server.bootstrap.web import links_of, web
from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Role
from aisecops_server.domain.errors import InvalidRequestError

from tests.scenes.planes.ui_scene import Scene

KEY = re.compile(rb'name="key" value="([0-9a-f]{128})"')


def _code(scene: Scene, *roles: Role) -> str:
    return parse_qs(urlsplit(scene.link(*roles)).query)["code"][0]


def test_a_link_signs_in_once(scene: Scene) -> None:
    code = _code(scene)
    first = scene.ask("POST", "/sign-in", form={"code": code, "next": "/traces"})
    again = scene.ask("POST", "/sign-in", form={"code": code, "next": "/traces"})
    assert (first[0], first[1]["location"]) == (303, "/traces")
    assert "HttpOnly" in first[1]["set-cookie"]
    assert "SameSite=strict" in first[1]["set-cookie"]
    assert again[0] == 401
    assert "set-cookie" not in again[1]


def test_looking_at_a_link_does_not_use_it_up(scene: Scene) -> None:
    code = _code(scene)
    for _ in range(3):
        assert scene.ask("GET", f"/sign-in?code={code}")[0] == 200
    assert scene.ask("POST", "/sign-in", form={"code": code})[0] == 303


def test_a_link_that_is_over_signs_nobody_in(scene: Scene) -> None:
    code = links_of(scene.settings).leave(scene.token(), seconds=0)
    assert scene.ask("POST", "/sign-in", form={"code": code})[0] == 401


def test_what_waits_for_a_link_is_for_its_owner_only_and_not_its_code(scene: Scene) -> None:
    code = _code(scene)
    files = list(links_of(scene.settings).directory.glob("*.json"))
    assert files
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert all(code not in path.name and code not in path.read_text() for path in files)


@pytest.mark.parametrize("code", ["", "x", "../../keys/tokens", "0" * 300, "a/b", "%00"])
def test_a_made_up_code_opens_nothing(scene: Scene, code: str) -> None:
    assert scene.ask("POST", "/sign-in", form={"code": code})[0] == 401


@pytest.mark.parametrize(
    "next_",
    ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "javascript:alert(1)", "/a\r\nX: y"],
)
def test_signing_in_leads_nowhere_else(scene: Scene, next_: str) -> None:
    status, headers, _ = scene.ask("POST", "/sign-in", form={"code": _code(scene), "next": next_})
    assert (status, headers["location"]) == (303, "/")


def test_a_token_signs_in_as_well(scene: Scene) -> None:
    status, headers, _ = scene.ask("POST", "/sign-in", form={"token": scene.token(Role.AUDITOR)})
    cookie = headers["set-cookie"].partition(";")[0]
    assert status == 303
    assert scene.ask("GET", "/traces", headers={"Cookie": cookie})[0] == 200


def test_nobody_reads_without_signing_in(scene: Scene) -> None:
    trace = scene.traces["answer-ticket"]
    shown = scene.ask("GET", f"/traces/{trace}")
    data = scene.ask("GET", f"/traces/{trace}.json")
    assert (shown[0], shown[1]["location"]) == (303, f"/sign-in?next=/traces/{trace}")
    assert data[0] == 401
    assert b"UNAUTHENTICATED" in data[2]
    for path in ("/traces", "/traces.json", "/index.json", "/"):
        assert scene.ask("GET", path)[0] in (303, 401)


def test_signing_out_ends_the_session(scene: Scene) -> None:
    cookie = {"Cookie": scene.cookie()}
    key = KEY.search(scene.ask("GET", "/traces", headers=cookie)[2])[1].decode()
    assert scene.ask("POST", "/sign-out", headers=cookie, form={"key": key})[0] == 303
    assert scene.ask("GET", "/traces", headers=cookie)[0] == 303


def test_a_form_without_its_key_or_from_another_page_does_nothing(scene: Scene) -> None:
    path = f"/traces/{scene.traces['answer-ticket']}/evidence"
    cookie = {"Cookie": scene.cookie()}
    key = KEY.search(scene.ask("GET", "/traces", headers=cookie)[2])[1].decode()
    other = KEY.search(scene.ask("GET", "/traces", headers={"Cookie": scene.cookie()})[2])[1].decode()
    elsewhere = {**cookie, "Origin": "https://elsewhere.example"}
    cross = {**cookie, "Sec-Fetch-Site": "cross-site"}
    refused = [
        scene.ask("POST", path, headers=cookie, form={})[0],
        scene.ask("POST", path, headers=cookie, form={"key": other})[0],
        scene.ask("POST", path, headers=elsewhere, form={"key": key})[0],
        scene.ask("POST", path, headers=cross, form={"key": key})[0],
        scene.ask("POST", "/sign-in", headers={"Origin": "https://elsewhere.example"}, form={"code": _code(scene)})[0],
    ]
    assert refused[:4] == [403] * 4
    assert refused[4] == 403
    assert scene.ask("POST", path, headers=cookie, form={"key": key})[0] == 200


def test_the_key_of_a_form_looks_different_every_time_and_opens_all_the_same(scene: Scene) -> None:
    cookie = {"Cookie": scene.cookie()}
    keys = {KEY.search(scene.ask("GET", "/traces", headers=cookie)[2])[1].decode() for _ in range(3)}
    path = f"/traces/{scene.traces['answer-ticket']}/evidence"
    assert len(keys) == 3
    assert {scene.ask("POST", path, headers=cookie, form={"key": key})[0] for key in keys} == {200}
    assert {scene.ask("POST", path, headers=cookie, form={"key": key[:-2] + "zz"})[0] for key in keys} == {403}


def test_only_names_that_are_ours_are_answered(scene: Scene) -> None:
    for host in ("elsewhere.example", "127.0.0.1.elsewhere.example:80", "", "localhost.elsewhere.example"):
        assert scene.get("/traces", headers={"Host": host})[0] == 421
    assert scene.get("/traces", headers={"Host": "localhost:1"})[0] == 200


def test_every_answer_says_what_the_browser_may_do(scene: Scene) -> None:
    for path in ("/traces", "/sign-in", "/nothing", "/assets/x/ui.css", "/traces.json", "/traces/nonsense"):
        headers = scene.get(path)[1]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_a_form_that_is_too_large_is_refused(scene: Scene) -> None:
    assert scene.ask("POST", "/sign-in", form={"code": "x" * 100_000})[0] == 400


@pytest.mark.asyncio
@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.7:8470", "ui.example:8470"])
async def test_beyond_this_machine_it_does_not_start_without_credentials(scene: Scene, address: str) -> None:
    settings = scene.settings.model_copy(update={"ui_address": address})
    with pytest.raises(InvalidRequestError) as refused:
        async with web(settings, {DEFAULT_TENANT: scene.plane}, None):
            pass
    assert "token_keys" in refused.value.hint


def test_no_cookie_of_ours_says_who_it_is(scene: Scene) -> None:
    name, _, value = scene.cookie().partition("=")
    assert name == "aisecops"
    assert re.fullmatch(r"[0-9a-f]{32}", value)


def test_a_session_of_the_ui_proves_nobody(scene: Scene) -> None:
    before = scene.ask("GET", "/traces.json", headers={"Cookie": (cookie := scene.cookie())})
    assert before[0] == 200
    for headers in ({}, {"Origin": scene.origin, "Sec-Fetch-Site": "same-origin"}):
        sent = {"Cookie": cookie, "Content-Type": "application/json", **headers}
        for call in ("AuditService/ListTraces", "BundleService/Rollback", "AuditService/StreamEvents"):
            status, _, body = scene.ask("POST", f"/api/v1/{call}", headers=sent, body="{}")
            assert (status, json.loads(body)["code"]) == (401, 16), call
