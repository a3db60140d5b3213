"""The vocabulary says what a tool's name means and by which words people ask for it."""

from __future__ import annotations

import pytest
from aisecops_server.domain.tables.vocabulary import Vocabulary, name_words
from pydantic import ValidationError

EFFECTS = {"write": ["create"], "delete": ["remove"], "send": ["send"], "spend": ["pay"], "execute": ["run"]}
TABLE = {
    "actions": {
        "create": {"tools": ["create"], "people": [["make", "book"], "erstelle"]},
        "remove": {"tools": ["delete", "remove"]},
        "send": {"tools": ["send", "email"]},
        "pay": {"tools": ["pay", "transfer"]},
        "run": {"tools": ["run"]},
    },
    "effects": EFFECTS,
    "delegation": {"verbs": ["do"], "nouns": ["steps"]},
    "arguments": {"content": ["body"], "destination": [["to", "cc"]]},
}


@pytest.fixture
def vocabulary():
    return Vocabulary.model_validate(TABLE)


@pytest.mark.parametrize("name", ["sendMail", "send_mail", "send-mail", "Send Mail", "send.mail"])
def test_a_name_has_the_same_words_however_it_is_joined(name):
    assert name_words(name) == ["send", "mail"]


@pytest.mark.parametrize(
    ("tool", "effect", "actions"),
    [
        ("x/send_note", "send", ["send"]),
        ("x/createAndSend", "send", ["create", "send"]),
        ("x/frobnicate", "write", ["create"]),
        ("x/delete_email", "delete", ["remove"]),
        ("x/create_transfer", "spend", ["pay"]),
        ("x/send_note", "delete", ["send"]),
        ("x/frobnicate", "read", []),
    ],
)
def test_the_name_says_what_a_tool_does_and_its_effect_says_it_else(vocabulary, tool, effect, actions):
    assert vocabulary.actions_of(tool, effect) == actions


@pytest.mark.parametrize(
    ("tool", "concerns"),
    [
        ("x/delete_file", {"file", "files"}),
        ("x/remove_user_from_boards", {"user", "users", "board", "boards"}),
        ("x/delete_email", {"email", "emails"}),
        ("x/delete", set()),
    ],
)
def test_what_a_tool_concerns_is_what_its_name_says_besides(vocabulary, tool, concerns):
    assert set(vocabulary.concerns_of(tool)) == concerns


def test_the_compiled_table_is_keyed_by_word(vocabulary):
    compiled = vocabulary.compiled()
    assert compiled["arguments"] == {"body": "content", "to": "destination", "cc": "destination"}
    assert compiled["actions"]["book"] == {"create": True}
    assert compiled["actions"]["do"] == {"delegating": True}
    assert compiled["actions"]["steps"] == {"delegated": True}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"effects": {**EFFECTS, "write": ["dance"]}}, "'dance' is not one of the actions"),
        ({"effects": {"write": ["create"]}}, "no actions for delete, execute, send, spend"),
        ({"actions": {**TABLE["actions"], "delegated": {"tools": ["x"]}}}, "may not be called"),
        ({"actions": {**TABLE["actions"], "shout": {"tools": ["SHOUT"]}}}, "pattern"),
        ({"actions": {**TABLE["actions"], "two": {"tools": ["two words"]}}}, "pattern"),
    ],
)
def test_a_table_that_means_nothing_is_refused(change, problem):
    with pytest.raises(ValidationError, match=problem):
        Vocabulary.model_validate({**TABLE, **change})
