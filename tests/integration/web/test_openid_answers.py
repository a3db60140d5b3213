"""What a provider, or somebody in its place, may answer, and what a browser may bring: none of it lets anybody in."""

from __future__ import annotations

import base64
import hmac
import html
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest
from aisecops_server.adapters.identity.provider_http import ProviderAsked, ask
from aisecops_server.adapters.identity.sign_in_provider import OpenIdProvider
from aisecops_server.bootstrap.authentication import provider_client
from aisecops_server.bootstrap.web import web
from aisecops_server.cli.running.checks import callers_check
from aisecops_server.domain.callers.identity import DEFAULT_TENANT
from aisecops_server.domain.callers.sign_in import SignIn, SignInAnswer
from aisecops_server.domain.errors import InvalidRequestError, UnauthenticatedError
from aisecops_server.settings import Settings
from cryptography.hazmat.primitives import serialization

from tests.fakes.clock import FakeClock
from tests.scenes.planes.ui_scene import Scene, ui_scene
from tests.scenes.servers.http_server import answer, server
from tests.scenes.servers.openid_provider import CLIENT, Person, Seen, with_provider
from tests.scenes.servers.scripted_provider import Scripted, scripted_provider

PROBLEM = re.compile(r'role="alert">(.*?)\.?</p>', re.DOTALL)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Scene, Scripted]]:
    with scripted_provider() as provider, ui_scene(populated=False, **with_provider(provider.issuer)) as scene:
        yield scene, provider


@pytest.fixture
def scene(served: tuple[Scene, Scripted]) -> Scene:
    return served[0]


@pytest.fixture
def provider(served: tuple[Scene, Scripted]) -> Scripted:
    served[1].honest()
    return served[1]


def brought(scene: Scene, provider: Scripted, person: Person, **changes: str) -> Seen:
    """Begin, and bring back an answer in which something is otherwise; an empty one is left out."""
    asked = person.begin(scene.origin).parameters
    provider.nonce = asked["nonce"]
    said = {"code": "a-code", "state": asked["state"], **changes}
    query = urlencode({name: value for name, value in said.items() if value})
    return person.ask("GET", f"{scene.origin}/sign-in/callback?{query}")


def problem(seen: Seen) -> str:
    [found] = PROBLEM.findall(seen.text)
    return html.unescape(re.sub("<[^>]+>", "", found))


def is_in(scene: Scene, person: Person) -> bool:
    return person.ask("GET", f"{scene.origin}/traces").status == 200


def test_an_honest_provider_signs_in(scene: Scene, provider: Scripted) -> None:
    ada = Person()
    assert (brought(scene, provider, ada).status, is_in(scene, ada)) == (200, True)
    path, headers, form = provider.posted[-1]
    assert (path, form["client_id"], form["code"], form["grant_type"]) == (
        "/token",
        CLIENT,
        "a-code",
        "authorization_code",
    )
    assert "authorization" not in headers
    assert form["redirect_uri"] == f"{scene.origin}/sign-in/callback"


def _unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"one"}').rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def _signed_with(key: bytes, token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=").decode()
    signed = f"{header}.{token.split('.')[1]}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), 'sha256')).rstrip(b'=').decode()}"


CLAIMS: dict[str, tuple[dict[str, object], str]] = {
    "for another client": ({"aud": "other"}, "does not verify"),
    "for the API and not for us": ({"aud": "aisecops"}, "does not verify"),
    "for others as well": ({"aud": [CLIENT, "other"], "azp": CLIENT}, "for others as well"),
    "of another party": ({"azp": "other"}, "for others as well"),
    "of another issuer": ({"iss": "https://evil.example"}, "does not verify"),
    "of another sign-in": ({"nonce": "n-of-another"}, "of another sign-in"),
    "of no sign-in": ({"nonce": None}, "of another sign-in"),
    "over": ({"exp": 1}, "has expired. Compare the clocks"),
    "made later than now": ({"iat": 4_000_000_000}, "made later than now. Compare the clocks"),
    "for years": ({"exp": 4_000_000_000}, "lives longer"),
    "without roles": ({"roles": None}, "has no roles. Ask who runs the identity provider"),
    "of a role that there is not": ({"roles": ["root"]}, "a role that does not exist"),
    "of somebody who cannot be named": ({"sub": "ada lovelace"}, "subject is not"),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_an_id_token_that_is_not_for_this_sign_in_lets_nobody_in(scene: Scene, provider: Scripted, kind: str) -> None:
    provider.claims, why = CLAIMS[kind]
    ada = Person()
    told = brought(scene, provider, ada)
    assert (told.status, is_in(scene, ada)) == (401, False)
    assert why in problem(told)


@pytest.mark.parametrize("kind", ["unsigned", "with the public key", "with nothing", "of another key", "cut off"])
def test_an_id_token_that_the_provider_did_not_sign_lets_nobody_in(scene: Scene, provider: Scripted, kind: str) -> None:
    public = provider.signer.keys["one"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged: dict[str, Callable[[str], str]] = {
        "unsigned": _unsigned,
        "with the public key": lambda token: _signed_with(pem, token),
        "with nothing": lambda token: _signed_with(b"", token),
        "of another key": lambda token: token.rpartition(".")[0] + ".AAAA",
        "cut off": lambda token: token[:-20],
    }
    provider.token = forged[kind]
    ada = Person()
    assert (brought(scene, provider, ada).status, is_in(scene, ada)) == (401, False)


ANSWERS: dict[str, tuple[int, bytes, int]] = {
    "the code was used": (400, b'{"error": "invalid_grant"}', 401),
    "an unknown client": (401, b'{"error": "invalid_client"}', 401),
    "another error": (400, b'{"error": "<script>alert(1)</script>"}', 401),
    "an error that is no text": (400, b'{"error": {"a": 1}}', 401),
    "a redirect": (302, b"http://127.0.0.1:1/token", 503),
    "a redirect that keeps the method": (307, b"http://127.0.0.1:1/token", 503),
    "down": (502, b"<h1>Bad Gateway</h1>", 503),
    "no token": (200, b'{"access_token": "a", "token_type": "Bearer"}', 401),
    "a token that is none": (200, b'{"id_token": ["a"]}', 401),
    "a list": (200, b"[]", 401),
    "twice": (200, b'{"id_token": "a", "id_token": "b"}', 503),
    "nothing": (200, b"", 503),
    "no JSON": (200, b"id_token=a", 503),
    "without end": (200, b'{"id_token": "' + b"x" * 100_000 + b'"}', 503),
    "nested without end": (200, b"[" * 50_000, 503),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_to_a_code_that_holds_no_token_lets_nobody_in(scene: Scene, provider: Scripted, kind: str) -> None:
    status, body, code = ANSWERS[kind]
    provider.others["/token"] = lambda: (status, body)
    ada = Person()
    told = brought(scene, provider, ada)
    assert (told.status, is_in(scene, ada)) == (code, False)
    assert "<script" not in told.text
    assert problem(told)


BROUGHT: dict[str, tuple[dict[str, str], str]] = {
    "an answer of another provider": ({"iss": "https://evil.example"}, "not of the provider"),
    "an answer of nearly the same provider": ({"iss": "/"}, "not of the provider"),
    "no code": ({"code": ""}, "no code"),
    "a code without end": ({"code": "x" * 5000}, "no code"),
    "a code with a line": ({"code": "a\r\nHost: evil.example"}, "no code"),
    "a code that is no ASCII": ({"code": "é"}, "no code"),
    "who declined": ({"error": "access_denied"}, "declined"),
    "who is to sign in there first": ({"error": "login_required"}, "sign in there first"),
    "an error": ({"error": "server_error"}, "(server_error)"),
    "an error that nobody knows": ({"error": "<b>call 0900</b>"}, "(no error that there is)"),
    "no state": ({"state": ""}, "another sign-in"),
    "a state of nobody": ({"state": "x" * 32}, "another sign-in"),
    "a state without end": ({"state": "x" * 20_000}, "another sign-in"),
    "a state that is no ASCII": ({"state": "\u202e"}, "another sign-in"),
}


@pytest.mark.parametrize("kind", BROUGHT)
def test_what_a_browser_brings_is_an_answer_or_lets_nobody_in(scene: Scene, provider: Scripted, kind: str) -> None:
    changes, why = BROUGHT[kind]
    said = dict(changes) | ({"error_description": "<b>Call 0900 to sign in</b>"} if "error" in changes else {})
    ada, asked = Person(), len(provider.posted)
    told = brought(scene, provider, ada, **said)
    assert (told.status, is_in(scene, ada)) == (401, False)
    assert why in problem(told)
    assert "0900" not in told.text
    # Nobody's code is tried for what is no answer.
    assert len(provider.posted) == asked


@pytest.mark.parametrize("name", ["code", "state", "iss", "error"])
def test_what_is_said_twice_is_no_answer(scene: Scene, provider: Scripted, name: str) -> None:
    ada = Person()
    asked = ada.begin(scene.origin).parameters
    provider.nonce = asked["nonce"]
    said = [("code", "a"), ("state", asked["state"]), (name, asked["state"]), (name, asked["state"])]
    told = ada.ask("GET", f"{scene.origin}/sign-in/callback?{urlencode(said)}")
    assert (told.status, "twice" in problem(told), is_in(scene, ada)) == (401, True, False)


def test_a_provider_that_names_itself_has_to_do_so_every_time() -> None:
    with scripted_provider() as provider:
        provider.document = {"authorization_response_iss_parameter_supported": True}
        with ui_scene(populated=False, **with_provider(provider.issuer)) as scene:
            for issuer, status in (("", 401), (f"{provider.issuer}/", 401), (provider.issuer, 200)):
                assert brought(scene, provider, Person(), iss=issuer).status == status, issuer
            silent = brought(scene, provider, Person(), iss="https://evil.example", error="access_denied")
            assert "not of the provider" in problem(silent)


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\r\nLocation: https://evil.example",
        "evil.example",
        " //evil.example",
        "",
    ],
)
def test_signing_in_by_a_provider_leads_nowhere_else(scene: Scene, provider: Scripted, to: str) -> None:
    ada = Person()
    away = ada.begin(scene.origin, to)
    provider.nonce = away.parameters["nonce"]
    back = f"{scene.origin}/sign-in/callback?{urlencode({'code': 'a', 'state': away.parameters['state']})}"
    # Nor by an address that somebody adds on the way back.
    hop = ada.ask("GET", f"{back}&next={quote(to, safe='')}")
    assert (hop.status, hop.leads_to) == (200, f"{scene.origin}/")


@pytest.mark.parametrize("to", ['/traces?q="><script>alert(1)</script>', "/traces?q=0;url=//evil.example", "/a?b='c'"])
def test_the_page_that_leads_on_leads_where_it_was_asked_to_whatever_is_in_it(
    scene: Scene, provider: Scripted, to: str
) -> None:
    ada = Person()
    away = ada.begin(scene.origin, to)
    provider.nonce = away.parameters["nonce"]
    back = f"{scene.origin}/sign-in/callback?{urlencode({'code': 'a', 'state': away.parameters['state']})}"
    hop = ada.ask("GET", back)
    assert hop.leads_to == scene.origin + to
    assert "<script" not in hop.text


def test_only_a_page_of_ours_begins_a_sign_in(scene: Scene, provider: Scripted) -> None:
    url = f"{scene.origin}/sign-in/provider"
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        refused = Person().ask("POST", url, {"next": "/"}, **headers)
        assert (refused.status, "set-cookie" in refused.headers) == (403, False)
    assert Person().ask("GET", url).status == 405
    # A name that is ours, and not the one that people come back to: the cookie would stay behind.
    port = urlsplit(scene.origin).port
    other = Person().ask("POST", f"http://localhost:{port}/sign-in/provider", {"next": "/"})
    assert (other.status, scene.origin in problem(other)) == (400, True)


@pytest.mark.parametrize("cookie", ["x", "a.b", "x" * 8000, '"; Path=/', "%00", "eyJhbGciOiJub25lIn0.e30."])
def test_a_cookie_that_somebody_put_there_begins_nothing(scene: Scene, provider: Scripted, cookie: str) -> None:
    ada = Person()
    state = ada.begin(scene.origin).parameters["state"]
    sent = {"Cookie": f"aisecops-sign-in={cookie}; aisecops={state}"}
    status, headers, _ = scene.ask("GET", f"/sign-in/callback?code=a&state={state}", headers=sent)
    assert (status, "set-cookie" in headers) == (401, False)


def test_over_tls_the_cookies_are_those_that_no_other_host_can_set() -> None:
    with (
        scripted_provider() as provider,
        ui_scene(populated=False, **with_provider(provider.issuer, ui_origin="https://ui.example")) as scene,
    ):
        ours = {"Host": "ui.example", "Origin": "https://ui.example"}
        ada = Person()
        away = ada.ask("POST", f"http://{scene.address}/sign-in/provider", {"next": "/"}, **ours)
        provider.nonce = away.parameters["nonce"]
        assert away.parameters["redirect_uri"] == "https://ui.example/sign-in/callback"
        back = f"http://{scene.address}/sign-in/callback?code=a&state={away.parameters['state']}"
        hop = ada.ask("GET", back, Host="ui.example")
        given = [away.headers["set-cookie"], hop.headers["set-cookie"]]
    assert given[0].startswith("__Host-aisecops-sign-in=")
    assert given[1].startswith("__Host-aisecops=")
    assert all("Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie for cookie in given)


def test_an_id_token_is_no_credential_of_the_api_and_a_session_proves_nobody_there(
    scene: Scene, provider: Scripted
) -> None:
    ada, seen = Person(), []
    provider.token = lambda token: seen.append(token) or token
    assert brought(scene, provider, ada).status == 200
    own = ada.ask(
        "POST", f"{scene.origin}/api/v1/AuditService/ListTraces", None, **{"Content-Type": "application/json"}
    )
    by_hand = Person().ask("GET", f"{scene.origin}/traces.json", Authorization=f"Bearer {seen[0]}")
    form = Person().ask("POST", f"{scene.origin}/sign-in", {"token": seen[0]})
    assert (own.status, by_hand.status, form.status) == (401, 401, 401)


def test_who_is_turned_away_at_a_sign_in_is_on_record() -> None:
    async def told(scene: Scene, call: str) -> tuple[object, ...]:
        async for stored in scene.plane.log.events(from_index=0, follow=True, trace_id=""):
            if stored.event.type == "identity.refused":
                for kind in json.loads(stored.event.body)["details"]["kinds"]:
                    if kind["call"] == call:
                        return kind["why"], kind["peer"], kind["count"]
        raise AssertionError("the log ended")

    with scripted_provider() as provider, ui_scene(populated=False, **with_provider(provider.issuer)) as scene:
        provider.claims = {"nonce": "n-of-another"}
        assert brought(scene, provider, Person()).status == 401
        assert scene.run(told(scene, "/sign-in/callback")) == ("nonce", "127.0.0.1", 1)
        for _ in range(3):
            assert Person().ask("POST", f"{scene.origin}/sign-in", {"code": "made-up"}).status == 401
        assert scene.run(told(scene, "/sign-in")) == ("link", "127.0.0.1", 3)


def test_no_more_people_than_a_few_wait_for_a_provider_that_hangs() -> None:
    with (
        scripted_provider() as provider,
        ui_scene(populated=False, **with_provider(provider.issuer)) as scene,
        ThreadPoolExecutor(20) as people,
    ):
        goes_on = threading.Event()
        honest = provider._document
        provider.others["/.well-known/openid-configuration"] = lambda: goes_on.wait(60) and honest()
        asked = [people.submit(Person().begin, scene.origin) for _ in range(20)]
        turned_away = [done.result().status for _, done in zip(range(4), as_completed(asked), strict=False)]
        # Nobody else waits for them.
        assert Person().ask("GET", f"{scene.origin}/sign-in").status == 200
        goes_on.set()
        assert turned_away == [429] * 4
        assert sorted(each.result().status for each in asked) == [200] * 16 + [429] * 4


def test_a_provider_that_is_away_or_another_one_is_told_and_asked_no_oftener_than_needed() -> None:
    with scripted_provider() as provider:
        asked = []

        def away() -> tuple[int, bytes]:
            asked.append(True)
            return 503, b""

        provider.others["/.well-known/openid-configuration"] = away
        with ui_scene(populated=False, **with_provider(provider.issuer)) as scene:
            for _ in range(5):
                told = Person().begin(scene.origin)
                assert (told.status, "cannot be asked" in problem(told)) == (503, True)
                assert "aisecops doctor" in problem(told)
            assert len(asked) < 5


def test_whoever_is_refused_again_and_again_fills_no_log(
    provider: Scripted, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = provider_client(Settings(state_dir=tmp_path, **with_provider(provider.issuer)))
    assert client is not None
    now = FakeClock()
    asked, begun = OpenIdProvider(client, now), SignIn("s", "n", "v", "http://127.0.0.1/sign-in/callback")
    for number in range(50):
        with pytest.raises(UnauthenticatedError, match="refused the sign-in"):
            asked.token(begun, SignInAnswer(error=f"server_error_{chr(97 + number % 26)}"))
        provider.others["/token"] = lambda: (400, b'{"error": "invalid_grant"}')
        with pytest.raises(UnauthenticatedError, match="does not take the code"):
            asked.token(begun, SignInAnswer(code="made up"))
    assert [record.getMessage() for record in caplog.records] == [
        "nobody was signed in: the identity provider refused the sign-in (server_error_a)"
    ]


DOCTOR: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "good": ({}, {}, "people sign in with"),
    "of another issuer": ({}, {"issuer": "https://evil.example"}, "https://evil.example"),
    "keys elsewhere": ({}, {"jwks_uri": "http://127.0.0.1:1/keys"}, "publishes its keys at http://127.0.0.1:1/keys"),
    "without PKCE": ({}, {"code_challenge_methods_supported": ["plain"]}, "PKCE"),
    "of methods that are no words": ({}, {"code_challenge_methods_supported": [{"S256": True}]}, "PKCE"),
    "no issuer is set": ({"token_issuer": ""}, {}, "not which identity provider"),
    "a secret that is not there": ({"oidc_client_secret_file": Path("nowhere")}, {}, "nowhere cannot be read"),
}


@pytest.mark.parametrize("kind", DOCTOR)
def test_what_is_set_is_looked_at_by_doctor(tmp_path: Path, provider: Scripted, kind: str) -> None:
    changes, provider.document, why = DOCTOR[kind]
    settings = Settings(state_dir=tmp_path, **with_provider(provider.issuer, **changes))
    found = callers_check(settings)
    assert found.state == ("ok" if kind == "good" else "fail")
    assert why in found.detail
    assert (found.mend != "") == (kind != "good")


@pytest.mark.parametrize(
    "changes",
    [
        {"token_keys": ""},
        {"token_issuer": "login.example"},
        {"token_issuer": "http://login.example"},
        {"token_issuer": "http://localhost:1"},
        {"token_issuer": "https://login.example/#a"},
    ],
)
def test_a_client_of_no_provider_does_not_start(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match="not which identity provider"):
        provider_client(Settings(state_dir=tmp_path, **with_provider("https://login.example", **changes)))


def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("an-old-secret")
    secret.chmod(0o644)
    changes = with_provider("https://login.example", oidc_client_secret_file=secret)
    with pytest.raises(InvalidRequestError, match="read by others"):
        provider_client(Settings(state_dir=tmp_path, **changes))


@pytest.mark.asyncio
async def test_people_are_not_sent_back_to_every_address_at_once(tmp_path: Path, scene: Scene) -> None:
    files = {name: tmp_path / name for name in ("tls_certificate", "tls_key")}
    settings = scene.settings.model_copy(update={"ui_address": "0.0.0.0:0", **files})
    with pytest.raises(InvalidRequestError) as refused:
        async with web(settings, {DEFAULT_TENANT: scene.plane}, None):
            pass
    assert refused.value.metadata()["field"] == "ui_origin"


def _dripping(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"a: b\r\n")


def test_a_code_is_given_to_nobody_who_answers_without_end() -> None:
    for talk in (_dripping, lambda connection: connection.sendall(answer(b"x" * 2000))):
        with server(talk) as port, pytest.raises((OSError, ValueError)):
            ask(ProviderAsked(f"http://127.0.0.1:{port}/token", form=b"code=a"), most_bytes=1000, seconds=1)
