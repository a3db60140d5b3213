"""One form for what a person reads as the same."""

from __future__ import annotations

import unicodedata

import pytest
from aisecops_server.domain.grounding.normal_form import normal_form, reread
from hypothesis import given
from hypothesis import strategies as st


@given(st.text())
def test_no_invisible_character_is_left(text: str) -> None:
    assert not [character for character in normal_form(text) if unicodedata.category(character) in {"Cf", "Co", "Cn"}]


@pytest.mark.parametrize("hidden", ["\u200b", "\u2060", "\ufeff", "\U000e0041", "\ufe0f", "\u3164"])
def test_hidden_characters_between_letters_change_nothing(hidden: str) -> None:
    assert normal_form(f"äb{hidden}c") == "äbc"


@pytest.mark.parametrize("text", ["plain", "Ärger", "\ufdfa", "a.b"])
def test_what_reads_in_one_way_only_is_not_read_again(text: str) -> None:
    assert reread(text, normal_form(text)) == ""
