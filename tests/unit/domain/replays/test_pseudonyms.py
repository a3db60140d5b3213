from __future__ import annotations

import pytest
from aisecops_server.domain.replays.pseudonyms import Pseudonyms, words_of

KEPT = words_of(
    [
        b"allow tool crm/issue_refund when amount > 100 at corp.example",
        b"plan request words session to approvals tool_digests n s",
    ]
)
NAMES = Pseudonyms(b"k" * 32, KEPT)


def test_words_of_the_policy_stay_and_others_become_others_of_the_same_kind():
    text = NAMES.text("crm/issue_refund to Mara.Lindt7@lindt-keramik.example at corp.example")
    assert text.startswith("crm/issue_refund ")
    assert text.endswith(" at corp.example")
    assert "Mara" not in text
    assert "lindt" not in text.lower()
    person = text.split()[2]
    assert "".join(map(_kind, person)) == "Aaaa.Aaaaa9@aaaaa-aaaaaaa.aaaaaaa"
    assert person.endswith(".example")


def _kind(sign):
    if sign.isdigit():
        return "9"
    return ("A" if sign.isupper() else "a") if sign.isalpha() else sign


def test_what_was_equal_stays_equal_in_whatever_case_and_place():
    document = NAMES.document({"plan": {"to": "Lindt"}, "request": {"words": {"lindt": True}}, "session": "s#LINDT"})
    [word] = document["request"]["words"]
    assert document["plan"]["to"].lower() == word
    assert document["session"].lower().endswith(f"#{word}")


def test_another_key_gives_other_words():
    assert Pseudonyms(b"x" * 32, KEPT).text("Lindt") != NAMES.text("Lindt")


def test_numbers_times_and_digests_of_policy_are_no_words():
    document = {"now": {"rfc3339": "2026-01-01T00:00:00Z"}, "approvals": [{"tool_digests": {"a/b": "f00"}, "n": 64}]}
    assert NAMES.document(document) == document


def test_what_nobody_sees_stays_so_that_rules_about_it_still_find_it():
    assert NAMES.text("Ma\u200bra").replace("\u200b", "").isalpha()
    assert "\u200b" in NAMES.text("Ma\u200bra")


def test_a_key_that_could_be_guessed_is_refused():
    with pytest.raises(ValueError, match="too short"):
        Pseudonyms(b"short", KEPT)
