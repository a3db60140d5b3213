from __future__ import annotations

import pytest
import yaml
from aisecops_server.domain.agents.tool_guess import guess_effect
from aisecops_server.domain.tables.vocabulary import Vocabulary

from tests.scenes.policy.policy_cases import BUNDLE

WORDS = Vocabulary.model_validate(yaml.safe_load((BUNDLE / "data/vocabulary.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("search_rooms", "read"),
        ("getWeather", "read"),
        ("list-orders", "read"),
        ("get_payment_history", "read"),
        ("check_availability", "read"),
        ("room_search", "read"),
        ("message_search", "read"),
        ("update_profile", "write"),
        ("create_event", "write"),
        ("check_in_guest", "write"),
        ("reschedule_meeting", "write"),
        ("send_confirmation", "send"),
        ("post_message", "send"),
        ("share_file", "send"),
        ("invite_user", "send"),
        ("publish_page", "send"),
        ("create_post", "send"),
        ("cancel_reservation", "delete"),
        ("delete_email", "delete"),
        ("booking_cancel", "delete"),
        ("remove_and_archive", "delete"),
        ("reserve_room", "spend"),
        ("book_hotel", "spend"),
        ("schedule_payment", "spend"),
        ("create_transfer", "spend"),
        ("send_money", "spend"),
        ("payment_create", "spend"),
        ("run_query", "execute"),
        ("deploy", "execute"),
        ("restartServer", "execute"),
    ],
)
def test_the_verb_of_a_name_says_what_the_tool_does(name: str, effect: str) -> None:
    assert guess_effect(name, (), WORDS).effect == effect


@pytest.mark.parametrize(
    "name", ["concierge", "frobnicate", "x", "__", "42", "search_and_frobnicate", "find_then_run", "get_or_execute"]
)
def test_a_name_that_says_too_little_gets_the_gravest_effect(name: str) -> None:
    assert guess_effect(name, (), WORDS).effect == "execute"


@pytest.mark.parametrize(("name", "effect"), [("get_and_delete", "delete"), ("find_or_create", "write")])
def test_what_a_name_joins_counts_as_the_graver_part(name: str, effect: str) -> None:
    assert guess_effect(name, (), WORDS).effect == effect


def test_a_tool_that_is_given_code_executes_it_whatever_its_name_says() -> None:
    assert guess_effect("query", ("sql", "limit"), WORDS).effect == "execute"
    assert guess_effect("query", ("filter", "limit"), WORDS).effect == "read"


def test_the_policys_own_words_count() -> None:
    with_word = WORDS.model_copy(
        update={"actions": {**WORDS.actions, "remove": WORDS.actions["remove"].model_copy(update={"tools": ["weg"]})}}
    )
    assert guess_effect("alles_weg", (), WORDS).effect == "execute"
    assert guess_effect("alles_weg", (), with_word).effect == "delete"


def test_a_guess_says_which_word_gave_rise_to_it() -> None:
    assert guess_effect("cancel_reservation", (), WORDS).because == "'cancel' in its name"
    assert guess_effect("query", ("sql",), WORDS).because == "its argument 'sql'"
