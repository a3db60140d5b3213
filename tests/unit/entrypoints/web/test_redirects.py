"""A browser carries its own sign-in, sealed; what it brings back counts once, in time, and for that sign-in only."""

from __future__ import annotations

import base64
import hashlib

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.errors import UnauthenticatedError
from aisecops_server.entrypoints.web.redirects import MOST_COOKIE, MOST_USED, SECONDS, SignIns

from tests.fakes.clock import FakeClock

BACK = "https://ui.example/sign-in/callback"


def sign_ins() -> tuple[SignIns, FakeClock]:
    clock = FakeClock()
    return SignIns(RandomIds(), clock), clock


def why(made: SignIns, cookie: str, state: str) -> str:
    with pytest.raises(UnauthenticatedError) as refused:
        made.take(cookie, state)
    return refused.value.metadata()["why"]


def test_who_comes_back_in_the_browser_that_began_goes_where_they_wanted() -> None:
    made, _ = sign_ins()
    begun, cookie = made.begin(BACK, to="/traces?q=tool:email/send&x=é", tenant="north")
    assert made.take(cookie, begun.state) == begun
    assert (begun.back, begun.next, begun.tenant) == (BACK, "/traces?q=tool:email/send&x=é", "north")


def test_every_sign_in_has_secrets_of_its_own_that_are_not_in_what_goes_through_the_browser() -> None:
    made, _ = sign_ins()
    begun = [made.begin(BACK, to="/", tenant="") for _ in range(50)]
    secrets = {text for sign_in, _ in begun for text in (sign_in.state, sign_in.nonce, sign_in.verifier)}
    assert len(secrets) == 150
    for sign_in, cookie in begun:
        opened = base64.urlsafe_b64decode(cookie.partition(".")[0] + "==").decode()
        assert sign_in.nonce not in opened + cookie
        assert sign_in.verifier not in opened + cookie
        # RFC 7636: 43 to 128 characters that nothing has to escape.
        assert 43 <= len(sign_in.verifier) <= 128
        digest = hashlib.sha256(sign_in.verifier.encode()).digest()
        assert sign_in.challenge == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_an_answer_counts_once() -> None:
    made, clock = sign_ins()
    begun, cookie = made.begin(BACK, to="/", tenant="")
    made.take(cookie, begun.state)
    for _ in range(2):
        assert why(made, cookie, begun.state) == "state_used"
        clock.advance(SECONDS / 3)


def test_an_answer_counts_in_time() -> None:
    made, clock = sign_ins()
    begun, cookie = made.begin(BACK, to="/", tenant="")
    clock.advance(SECONDS)
    assert why(made, cookie, begun.state) == "state_late"


def test_the_wall_clock_does_not_give_more_time() -> None:
    made, clock = sign_ins()
    begun, cookie = made.begin(BACK, to="/", tenant="")
    clock.advance(SECONDS)
    clock.set_back(SECONDS * 10)
    assert why(made, cookie, begun.state) == "state_late"


def test_an_answer_to_a_sign_in_of_another_browser_is_none() -> None:
    made, _ = sign_ins()
    (attacker, _own), (begun, cookie) = (made.begin(BACK, to="/", tenant="") for _ in range(2))
    for state in (attacker.state, "", "x" * 100_000, "\ud800", begun.state.upper(), begun.state + "\x00"):
        assert why(made, cookie, state) == "state"
    assert made.take(cookie, begun.state) == begun


def test_a_cookie_that_this_process_did_not_seal_is_none() -> None:
    made, _ = sign_ins()
    other, _ = sign_ins()
    begun, cookie = made.begin(BACK, to="/", tenant="")
    content, _, seal = cookie.partition(".")
    elsewhere = base64.urlsafe_b64encode(
        base64.urlsafe_b64decode(content + "==").replace(b"ui.example", b"evil.example")
    ).decode()
    forged = [
        "",
        ".",
        "é",
        content,
        f"{content}.",
        f".{seal}",
        f"{content}.{seal[:-1]}",
        f"{content}.{seal}.{seal}",
        f"{elsewhere}.{seal}",
        f"{content}.{begun.nonce}",
        f"{content}.{begun.verifier}",
        "x" * (MOST_COOKIE + 1),
        other.begin(BACK, to="/", tenant="")[1],
    ]
    assert {why(made, text, begun.state) for text in forged} == {"state"}


@pytest.mark.parametrize("to", ["/" + "x" * 60_000, "/" + "é" * 1500])
def test_an_address_that_no_cookie_holds_leads_to_the_first_page(to: str) -> None:
    made, _ = sign_ins()
    begun, cookie = made.begin(BACK, to=to, tenant="")
    assert len(cookie) <= MOST_COOKIE
    assert made.take(cookie, begun.state).next == "/"


def test_what_is_remembered_has_an_end() -> None:
    made, clock = sign_ins()
    for _ in range(MOST_USED + 10):
        begun, cookie = made.begin(BACK, to="/", tenant="")
        made.take(cookie, begun.state)
    assert len(made._used) == MOST_USED
    assert why(made, cookie, begun.state) == "state_used"
    clock.advance(SECONDS)
    begun, cookie = made.begin(BACK, to="/", tenant="")
    made.take(cookie, begun.state)
    assert len(made._used) == 1
