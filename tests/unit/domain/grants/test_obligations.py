"""What obligations make of arguments before their digest is taken."""

from __future__ import annotations

from aisecops_server.domain.decisions.decision import Obligation
from aisecops_server.domain.grants.obligations import arguments_under

ARGUMENTS = {"card": "4111", "who": {"card": "4222", "name": "Ada"}, "list": [{"card": 1}, "card"], "n": 1}


def redact(**parameters: object) -> Obligation:
    return Obligation("redact", "s1", parameters)


def test_redacted_arguments_are_replaced_wherever_they_stand() -> None:
    assert arguments_under(ARGUMENTS, [redact(fields=["card"], of="arguments")]) == {
        "card": "[redacted]",
        "who": {"card": "[redacted]", "name": "Ada"},
        "list": [{"card": "[redacted]"}, "card"],
        "n": 1,
    }
    assert ARGUMENTS["card"] == "4111"


def test_nothing_else_changes_arguments() -> None:
    others = [redact(fields=["card"]), redact(fields=["card"], of="result"), redact(fields="card", of="arguments")]
    assert arguments_under(ARGUMENTS, [*others, Obligation("limit", "s1", {"rows": 1})]) is ARGUMENTS
