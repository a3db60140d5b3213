"""Whether a delivery is the Git host's own, and new."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from aisecops_server.domain.bundles.push_notice import MOST_REMEMBERED, PushNotices
from hypothesis import given
from hypothesis import strategies as st

SECRET = b"what nobody can guess"


def signed(body: bytes, secret: bytes = SECRET, **headers: str) -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(), **headers}


def token(delivery: str = "", secret: str = SECRET.decode()) -> dict[str, str]:
    return {"x-gitlab-token": secret, **({"x-gitlab-event-uuid": delivery} if delivery else {})}


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_signature_is_of_exactly_one_body(body: bytes, other: bytes) -> None:
    assert PushNotices(SECRET).refusal(signed(body), body) == ""
    assert (PushNotices(SECRET).refusal(signed(body), other) == "") is (body == other)
    assert PushNotices(SECRET).refusal(signed(body, b"another secret"), body) == "signature"


@given(st.dictionaries(st.sampled_from(["x-hub-signature-256", "x-gitlab-token", "x-gitlab-event-uuid"]), st.text()))
def test_nothing_else_is_genuine(headers: dict[str, str]) -> None:
    assert PushNotices(SECRET).refusal(headers, b"{}") == "signature"


@pytest.mark.parametrize(
    "header",
    ["", "sha256=", "sha1=" + "0" * 40, hmac.new(SECRET, b"{}", hashlib.sha256).hexdigest(), "sha256=" + "é" * 64],
)
def test_a_signature_of_another_form_is_none(header: str) -> None:
    assert PushNotices(SECRET).refusal({"x-hub-signature-256": header}, b"{}") == "signature"


def test_a_bad_signature_is_not_saved_by_a_good_token() -> None:
    assert PushNotices(SECRET).refusal({"x-hub-signature-256": "sha256=00", **token("1")}, b"{}") == "signature"


def test_what_was_said_before_is_refused_under_whatever_name() -> None:
    notices = PushNotices(SECRET)
    assert notices.refusal(signed(b"{}", **{"x-github-delivery": "one"}), b"{}") == ""
    assert notices.refusal(signed(b"{}", **{"x-github-delivery": "two"}), b"{}") == "replayed"
    assert notices.refusal(token("one"), b"{}") == ""
    assert notices.refusal(token("one"), b"{ }") == "replayed"
    assert notices.refusal(token("two"), b"{}") == ""
    # Without an id of the delivery its body is what it is known by.
    assert notices.refusal(token(), b"{}") == "replayed"


def test_what_is_remembered_is_bounded_and_the_latest_stays() -> None:
    notices = PushNotices(SECRET)
    for number in range(MOST_REMEMBERED + 10):
        assert notices.refusal(token(f"delivery-{number}"), b"{}") == ""
    assert notices.refusal(token(f"delivery-{MOST_REMEMBERED + 9}"), b"{}") == "replayed"
    assert notices.refusal(token("delivery-0"), b"{}") == ""


def test_a_secret_is_not_shown() -> None:
    assert SECRET.decode() not in repr(PushNotices(SECRET))
