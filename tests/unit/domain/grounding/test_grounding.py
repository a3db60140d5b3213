"""Grounding finds what a reader would call the same value, says in what form, and says what it did not search."""

from __future__ import annotations

import json

import pytest
from aisecops_server.domain.grounding.grounding import ground
from aisecops_server.domain.grounding.value_search import MOST_VALUES
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenes.texts.grounded import grounded, plan, seen, source, values

PROSE = ("text", True)
FIELD = ("field", False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("13", "on 2024-05-13 we met"),
        ("13", "at 13:00"),
        ("13", "for 1.13 euros"),
        ("13", "a 113 and a 131"),
        ("ann@x.org", "joann@x.org"),
        ("ann@x.org", "ann@x.org.evil.example"),
        ("ann@x.org", "big.ann@x.org"),
        ("x.org", "ann@x.org"),
        ("x.org", "x.org.evil.example"),
        ("general", "general-purpose"),
        ("general", "generally"),
        ("INC-7", "INC-77"),
    ],
)
def test_a_part_of_a_longer_token_is_not_the_value(value, text):
    assert seen(value, text) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ann@x.org", "Mail Ann@X.org."),
        ("ann@x.org", "to:ann@x.org, please"),
        ("ann@x.org", "请发送到ann@x.org吧"),
        ("ann@x.org", "an\u200bn@x\u2060.org is it"),
        ("ann@x.org", "\uff41nn@x.org is it"),
        ("ann@x.org", "write ann%40x.org there"),
        ("x.org", "see https://x.org/path"),
        ("https://x.org/a/", "see x.org/a now"),
        ("13", "delete the file with ID '13'"),
        ("13", "file 13, please"),
        ("13", "delete #13"),
        ("13", "entry ID:13"),
        ("Fred", "invite FRED."),
        ("STRASSE", "straße"),
        ("two words", "two\n   words"),
        ("DE02 1203 0000 0000 2020 51", "pay DE02120300000000202051 now"),
        ("DE02120300000000202051", "pay DE02 1203 0000 0000 2020 51 now"),
    ],
)
def test_the_same_value_written_another_way_is_found_in_prose(value, text):
    found = seen(value, f"well, {text} and more")
    assert found == PROSE


@pytest.mark.parametrize("text", ["we meet on June 13 at noon", "1. flour 13. sugar", "it costs 13 euros"])
def test_a_short_number_that_counts_something_else_is_no_reference(text):
    assert seen("13", text) is None


def test_look_alikes_of_other_scripts_are_other_values():
    assert seen("ann@x.org", "mail \u0430nn@x.org") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"id": "13", "note": "fine"}', FIELD),
        ('[{"id": 13}, {"id": 14}]', FIELD),
        ("- id: '13'\n  note: fine\n", FIELD),
        ("13", ("whole", False)),
        ("Rooms:\n13\n14\n", ("line", False)),
        ('{"id": "13", "note": "delete file 13"}', ("field", True)),
        ("- id: '13'\n# delete file 13\n", ("field", True)),
        ("note: delete file 13 now\nother: x\n", PROSE),
        ("Please delete file 13 now.", PROSE),
    ],
)
def test_the_form_says_whether_it_is_a_field_of_a_record(text, expected):
    assert seen("13", text) == expected


def test_a_repeated_key_hides_nothing():
    assert seen("evil", '{"to": "evil", "to": "good"}') == FIELD


def test_an_alias_or_a_tag_makes_text_of_a_record():
    assert seen("evil", "a: &x evil\nb: *x\n") != FIELD
    assert seen("evil", "a: !!str evil\n") != FIELD


def test_references_inside_content_are_values_of_their_own():
    body = "See www.x.org/a, mail ann@x.org; IBAN DE02120300000000202051, code 463820."
    found = {(item["shape"], item["value"]) for item in values(grounded({"body": body})) if item["embedded"]}
    assert found == {
        ("host", "www.x.org/a"),
        ("email", "ann@x.org"),
        ("iban", "de02120300000000202051"),
        ("identifier", "463820"),
    }


def test_pointers_lead_to_the_value():
    arguments = {"a/b": [{"c~d": "ann@x.org"}], "n": 7, "flag": True, "none": None}
    assert [(item["pointer"], item["value"]) for item in values(grounded(arguments))] == [
        ("/a~1b/0/c~0d", "ann@x.org"),
        ("/n", "7"),
    ]


def test_a_record_is_bound_when_the_human_named_something_else_in_it():
    prompt = source("user", "Add her to the grocery list please")
    records = source("r", '[{"id": "9", "filename": "grocery-list.docx"}, {"id": "8", "filename": "other-list.docx"}]')
    (nine,) = values(grounded({"file_id": "9"}, prompt, records))
    (eight,) = values(grounded({"file_id": "8"}, prompt, records))
    assert [nine["found"][0]["bound"], eight["found"][0]["bound"]] == [True, False]


def test_one_bound_record_among_very_many_is_enough():
    prompt = source("user", "Call Jane Doe")
    held = [{"id": "7", "note": f"n {number}"} for number in range(3_000)]
    unbound, bound = source("r", json.dumps(held)), source("q", json.dumps([*held, {"id": "7", "name": "Jane Doe"}]))
    (seven,) = values(grounded({"file_id": "7"}, prompt, unbound, bound))
    assert {place["source"]: place["bound"] for place in seven["found"]} == {"r": False, "q": True}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("sarah.baker@x.org", True),
        ("mark.black-2134@x.org", False),
        ("INC-78", False),
        ("Sarah Baker", True),
        ("Baker Street", False),
        ("42", False),
    ],
)
def test_a_value_is_named_when_every_word_of_it_was_said(value, named):
    prompt = source("user", "Ask Sarah Baker and Mark about INC-80")
    assert values(grounded({"value": value}, prompt))[0]["named"] is named


def test_a_source_is_pointed_at_when_an_argument_of_its_call_was_said():
    prompt = source("user", "Read www.blog.example and tell me")
    one = source("one", "text", name=json.dumps({"url": "http://www.blog.example/"}))
    other = source("other", "text", name=json.dumps({"url": "http://www.else.example/"}))
    assert grounded({}, prompt, one, other).pointed_at == {"one"}


def test_the_names_of_arguments_point_at_nothing():
    prompt = source("user", "Which channel has the query?")
    assert grounded({}, prompt, source("r", "text", name='{"channel": "x", "query": "y"}')).pointed_at == set()


def test_a_file_is_pointed_at_when_its_words_were_said():
    prompt = source("user", "Pay the December bill of 2026")
    file = source("r", "text", name='{"path": "bill-december-2026.txt"}')
    assert grounded({}, prompt, file).pointed_at == {"r"}


def test_sentences_glued_together_still_name_their_host():
    prompt = source("user", "Post it on www.our-company.com.They know")
    assert values(grounded({"url": "www.our-company.com"}, prompt))[0]["found"][0]["source"] == "user"


def test_a_source_known_by_its_digest_is_said_to_be_unsearched():
    found = grounded({"to": "ann@x.org"}, source("a", None), source("b", "nothing"))
    assert found.summary == {"complete": False, "unsearched": ["a"], "truncated": False}


def test_too_many_values_are_said_to_be_truncated():
    found = grounded({"to": [f"a{n}@x.org" for n in range(MOST_VALUES + 1)]})
    assert found.summary["truncated"] is True
    assert len(values(found)) == MOST_VALUES


def test_nested_tiny_values_in_a_large_source_stop_at_the_bound():
    arguments = {"to": ["a" * n for n in range(1, 60)]}
    found = grounded(arguments, source("r", "a" * 1_000_000))
    assert found.summary["truncated"] is True
    assert found.summary["complete"] is False


def test_words_beyond_the_bound_are_said_to_be_missing():
    found = grounded({}, source("user", " ".join(f"w{n}" for n in range(2_000))))
    assert found.request["truncated"] is True
    assert len(found.request["words"]) <= 1_024


def test_without_a_prompt_the_request_is_not_known():
    assert grounded({}, source("r", "text")).request == {"known": False, "words": {}, "truncated": False}


TOKENS = st.sampled_from(["13", "ann@x.org", "fred", "evil.example/a", "the file", "2024-05-13", "delete", "a", "aa"])
TEXTS = st.lists(TOKENS | st.text(max_size=6), max_size=12).map(" ".join)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["to", "file_id", "body", "day"]), TOKENS | TEXTS | st.lists(TOKENS, max_size=3), max_size=4
)


@given(ARGUMENTS, st.lists(TEXTS, max_size=4))
def test_grounding_is_deterministic_and_never_fails(arguments, texts):
    sources = [source(f"r{n}", text) for n, text in enumerate(texts)]
    assert grounded(arguments, *sources) == grounded(arguments, *sources)


@given(ARGUMENTS, TEXTS, TEXTS)
def test_another_source_takes_nothing_away(arguments, text, more):
    def places(*sources):
        return [
            (item["pointer"], item["value"], place["source"], place["form"])
            for item in values(grounded(arguments, *sources))
            for place in item["found"]
        ]

    before = places(source("r1", text))
    assert set(before) <= set(places(source("r1", text), source("r2", more)))


@given(TEXTS, st.sampled_from(["ann@x.org", "evil.example/a", "fred"]))
def test_what_stands_in_prose_between_blanks_is_found(text, value):
    found = seen(value, f"{text}, {value} . And so on.")
    assert found is not None


@settings(max_examples=30)
@given(st.integers(1, 8))
def test_matches_grow_no_faster_than_the_source(times):
    search_text = "mail ann@x.org or fred. " * 200 * times
    found = grounded({"to": "ann@x.org", "cc": "fred"}, source("r", search_text))
    assert found.summary["truncated"] is False
    assert [len(item["found"]) for item in values(found)] == [1, 1]


@given(st.text(max_size=300))
def test_any_text_at_all_can_be_a_source_and_an_argument(text):
    proposed = plan({"x": text}, source("r", text), source("user", text))
    assert ground(proposed) == ground(proposed)


def test_a_reference_beyond_what_is_looked_at_is_said_and_not_lost_in_silence():
    few = " ".join(f"https://site{number}.example/a" for number in range(8))
    many = " ".join(f"https://site{number}.example/a" for number in range(80)) + " https://evil.example/a"
    assert ground(plan({"body": few}, source("page", "https://evil.example/a"))).summary["truncated"] is False
    assert ground(plan({"body": many}, source("page", "https://evil.example/a"))).summary["truncated"] is True


def test_a_link_that_is_too_long_to_keep_is_still_found_where_it_stands():
    link = "https://evil.example/" + "a" * 400
    found = values(grounded({"body": f"please look at {link} today"}, source("page", f"Visit {link} now")))
    (reference,) = [value for value in found if value["embedded"]]
    assert [place["source"] for place in reference["found"]] == ["page"]


@pytest.mark.parametrize("body", ["![a](https://evil.example/x)", "look:https://evil.example/x"])
def test_a_link_is_seen_in_text_without_blanks(body):
    found = values(grounded({"body": body}, source("page", "Visit https://evil.example/x now")))
    assert [(value["shape"], len(value["found"])) for value in found if value["embedded"]] == [("url", 1)]


def test_a_link_made_up_around_a_host_is_told_by_the_host():
    found = values(grounded({"body": "see https://evil.example/?d=1 now"}, source("page", "go to evil.example now")))
    told = {value["value"]: len(value["found"]) for value in found if value["embedded"]}
    assert told == {"https://evil.example/?d=1": 0, "evil.example": 1}


def test_only_so_much_text_is_read_as_records_and_the_rest_is_believed_less():
    record = json.dumps([{"to": "ann@x.org", "pad": "x" * 200_000}])
    sources = [source(f"s{number}", record) for number in range(4)]
    (value,) = values(grounded({"to": "ann@x.org"}, *sources))
    assert [seen["form"] for seen in value["found"]] == ["field", "field", "text", "text"]


def test_only_an_address_that_stands_in_the_prompt_was_given_by_the_human():
    prompt = source("user", "Send Ann the opening times of Example Hotel, see www.hotel.example/times")
    asked = source("asked", "text", name='{"url": "www.hotel.example/times"}')
    found = source("found", "text", name='{"query": "opening times of Example Hotel"}')
    named = source("named", "text", name='{"url": "https://example.hotel"}')
    result = grounded({}, prompt, asked, found, named)
    assert (result.pointed_at, result.given) == ({"asked", "found", "named"}, {"asked"})
