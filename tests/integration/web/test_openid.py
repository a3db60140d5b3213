"""Signing in by a redirect, with a certified provider that somebody else wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.scenes.planes.ui_scene import Scene, ui_scene
from tests.scenes.servers.openid_provider import CLIENT, NOA, NOBODY, OMAR, Person, Seen, openid_provider, with_provider

KEY = re.compile(r'name="key" value="([0-9a-f]{128})"')
SECRET = "a secret: with / and + and %"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with openid_provider() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def scene(provider: str) -> Iterator[Scene]:
    with ui_scene(populated=False, **with_provider(provider)) as served:
        yield served


def arrived(scene: Scene, person: Person, who: str, to: str = "/") -> Seen:
    """Go all the way; return the page of ours that answers to who comes back."""
    return person.ask("GET", person.at_provider(person.begin(scene.origin, to).leads_to, who).leads_to)


def test_a_person_signs_in_by_the_provider_and_sees_the_page_that_was_asked_for(scene: Scene) -> None:
    noa = Person()
    asked = noa.ask("GET", f"{scene.origin}/metrics?range=7d")
    hop = arrived(scene, noa, NOA, "/metrics?range=7d")
    page = noa.ask("GET", hop.leads_to)
    assert (asked.status, hop.status, page.status) == (303, 200, 200)
    assert hop.leads_to == f"{scene.origin}/metrics?range=7d"
    assert NOA in page.text


def test_the_provider_is_asked_for_a_code_that_is_bound_to_this_browser(scene: Scene, provider: str) -> None:
    noa = Person()
    away = noa.begin(scene.origin)
    asked = away.parameters
    assert away.leads_to.startswith(f"{provider}/auth?")
    assert {name: asked[name] for name in ("response_type", "client_id", "redirect_uri", "scope")} == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": f"{scene.origin}/sign-in/callback",
        "scope": "openid",
    }
    assert asked["code_challenge_method"] == "S256"
    assert len({asked[name] for name in ("state", "nonce", "code_challenge")}) == 3
    cookie = away.headers["set-cookie"]
    assert "aisecops-sign-in=" in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Max-Age=600", "Path=/"))


def test_the_session_is_as_that_of_a_link_and_no_token_comes_to_the_browser(scene: Scene) -> None:
    noa = Person()
    hop = arrived(scene, noa, NOA)
    # That of the sign-in is taken back.
    [(name, value)] = noa.cookies[urlsplit(scene.origin).netloc].items()
    assert name == "aisecops"
    assert re.fullmatch(r"[0-9a-f]{32}", value)
    assert all(word in hop.headers["set-cookie"] for word in (f"aisecops={value}", "HttpOnly", "SameSite=strict"))
    assert "eyJ" not in hop.text + str(hop.headers)


def test_roles_are_those_that_the_claims_give(scene: Scene) -> None:
    omar = Person()
    arrived(scene, omar, OMAR)
    reads = omar.ask("GET", f"{scene.origin}/traces")
    key = KEY.search(reads.text)[1]
    orders = omar.ask("POST", f"{scene.origin}/rollouts/start", {"key": key, "revision": "main", "reason": "why not"})
    assert (reads.status, orders.status) == (200, 403)


def test_who_has_no_role_is_not_let_in_and_told_whom_to_ask(scene: Scene) -> None:
    nobody = Person()
    refused = arrived(scene, nobody, NOBODY)
    assert (refused.status, refused.leads_to) == (401, refused.url)
    assert "the token has no roles" in refused.text
    assert "token_roles_claim" in refused.text
    assert nobody.ask("GET", f"{scene.origin}/traces").status == 303


def test_who_declines_at_the_provider_is_told_so_and_can_begin_again(scene: Scene, provider: str) -> None:
    noa = Person()
    seen = noa.ask("GET", noa.begin(scene.origin, "/traces").leads_to)
    while 300 <= seen.status < 400:
        seen = noa.ask("GET", seen.leads_to)
    [abort] = re.findall(r'href="([^"]*/abort)"', seen.text)
    back = noa.ask("GET", abort if "://" in abort else provider + abort)
    while urlsplit(back.leads_to).path != "/sign-in/callback":
        back = noa.ask("GET", back.leads_to)
    assert back.parameters["error"] == "access_denied"
    told = noa.ask("GET", back.leads_to)
    assert told.status == 401
    assert "declined" in told.text
    assert 'name="next" value="/traces"' in told.text
    assert arrived(scene, noa, NOA).status == 200


def test_what_came_back_signs_in_once(scene: Scene) -> None:
    noa, thief = Person(), Person()
    back = noa.at_provider(noa.begin(scene.origin).leads_to, NOA)
    cookies = dict(noa.cookies[urlsplit(scene.origin).netloc])
    assert noa.ask("GET", back.leads_to).status == 200
    # Who saw the address, and who has the cookie of the sign-in as well.
    for person, had in ((noa, None), (thief, None), (thief, cookies)):
        if had:
            person.cookies[urlsplit(scene.origin).netloc] = dict(had)
        again = person.ask("GET", back.leads_to)
        assert again.status == 401
        assert "came back already" in again.text


def test_a_code_that_was_used_opens_nothing_in_another_sign_in(scene: Scene) -> None:
    noa, thief = Person(), Person()
    back = noa.at_provider(noa.begin(scene.origin).leads_to, NOA)
    own = thief.begin(scene.origin).parameters["state"]
    # Before its owner used it: it is bound to the owner's verifier. The provider takes it from nobody afterwards.
    stolen = back.leads_to.replace(back.parameters["state"], own)
    told = thief.ask("GET", stolen)
    assert told.status == 401
    assert "does not take the code" in told.text
    assert thief.ask("GET", f"{scene.origin}/traces").status == 303


def test_nobody_is_signed_in_as_somebody_else_by_a_link_to_what_came_back(scene: Scene) -> None:
    attacker, victim = Person(), Person()
    back = attacker.at_provider(attacker.begin(scene.origin).leads_to, OMAR)
    begun = victim.begin(scene.origin)
    for person in (victim, Person()):
        told = person.ask("GET", back.leads_to)
        assert told.status == 401
        assert "another sign-in" in told.text or "no sign-in was begun" in told.text
    # And the victim's own sign-in goes on.
    assert victim.ask("GET", victim.at_provider(begun.leads_to, NOA).leads_to).status == 200


def test_signing_out_ends_the_session_and_says_where_the_other_one_ends(scene: Scene, provider: str) -> None:
    noa = Person()
    page = noa.ask("GET", arrived(scene, noa, NOA, "/traces").leads_to)
    out = noa.ask("POST", f"{scene.origin}/sign-out", {"key": KEY.search(page.text)[1]})
    told = noa.ask("GET", out.leads_to)
    assert f"{provider}/session/end?client_id={CLIENT}" in told.text
    assert noa.ask("GET", f"{scene.origin}/traces").status == 303


@pytest.mark.parametrize("secret", [SECRET, "another-secret-than-this"])
def test_with_a_secret_the_ui_proves_itself_to_the_provider(tmp_path: Path, secret: str) -> None:
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text(f"{secret}\n")
    with openid_provider(secret=SECRET) as issuer:
        changes = with_provider(issuer, oidc_client_secret_file=file)
        with ui_scene(populated=False, **changes) as served:
            hop = arrived(served, Person(), NOA)
    assert hop.status == (200 if secret == SECRET else 401)
    assert ("does not know this control plane" in hop.text) == (secret != SECRET)
