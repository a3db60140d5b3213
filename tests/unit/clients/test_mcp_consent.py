"""How the proxy asks at a client: which ways it has, what it may be sent to, and how servers are told apart from it."""

from __future__ import annotations

from typing import Any

import pytest
from aisecops_mcp.consent import Asking, Modes, of_server
from hypothesis import given
from hypothesis import strategies as st

NOW = "2025-11-25"
CAPABLE: list[tuple[Any, str, Modes]] = [
    (None, NOW, Modes()),
    ({"roots": {}}, NOW, Modes()),
    ({"elicitation": True}, NOW, Modes()),
    ({"elicitation": {}}, NOW, Modes(form=True)),
    ({"elicitation": {"form": {}}}, NOW, Modes(form=True)),
    ({"elicitation": {"url": {}}}, "2026-07-28", Modes(url=True)),
    ({"elicitation": {"form": {}, "url": {}}}, NOW, Modes(form=True, url=True)),
    # A revision that has none of it, whatever the client says that it can.
    ({"elicitation": {"form": {}, "url": {}}}, "2025-06-18", Modes(form=True)),
    ({"elicitation": {"form": {}}}, "2025-03-26", Modes()),
    ({"elicitation": {"form": {}}}, "", Modes()),
]


@pytest.mark.parametrize(("capabilities", "version", "expected"), CAPABLE)
def test_a_client_is_asked_in_the_ways_that_it_and_its_protocol_have(
    capabilities: Any, version: str, expected: Modes
) -> None:
    assert Modes.of(capabilities, version) == expected


@pytest.mark.parametrize(
    "page",
    [
        "http://control.corp.example",
        "control.corp.example",
        "https://",
        "javascript:alert(1)",
        "https://user:secret@control.corp.example",
        "https://control.corp.example/?to=evil.example",
        "https://control.corp.example/#x",
    ],
)
def test_nobody_is_sent_to_an_address_that_could_be_read_along_or_says_more(page: str) -> None:
    with pytest.raises(ValueError, match="is no address of the UI"):
        Asking(page=page)


@pytest.mark.parametrize("page", ["https://control.corp.example/", "http://127.0.0.1:8470", "http://[::1]:8470"])
def test_people_answer_on_the_page_of_the_request(page: str) -> None:
    assert Asking(page=page).page_of("apr-1") == f"{page.rstrip('/')}/approvals/apr-1"
    assert Asking().page_of("apr-1") == ""


@given(st.text())
def test_whatever_a_server_asks_every_line_of_it_is_under_its_name(words: str) -> None:
    asked = of_server("odd", {"message": words, "_meta": {"aisecops/approval": "apr-1"}})
    assert asked.keys() == {"message"}
    assert all(line.startswith("odd: ") for line in asked["message"].split("\n"))
    # What breaks a line or hides is spelled out, so no reader sees other lines than these.
    assert all(mark.isprintable() or mark == "\n" for mark in asked["message"])
    assert asked["message"].splitlines() == asked["message"].split("\n")
