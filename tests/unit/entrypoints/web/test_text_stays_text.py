"""What keeps foreign text from becoming anything else: escaping, one module for markup, no address of others."""

from __future__ import annotations

import ast
import re

import pytest
from aisecops_server.domain.display.words import ALLOWED, BLOCKED, DRY_RUN, ERROR, ESCALATED, NOT_REACHED, Sign
from aisecops_server.entrypoints.web.markup import (
    BRIEF_CHARACTERS,
    FOLDED_CHARACTERS,
    brief,
    hidden_count,
    marked,
    shown,
    xml_text,
)
from aisecops_server.entrypoints.web.rendering import Assets, environment
from jinja2 import UndefinedError

from tests.house import tree

WEB = f"{tree.SERVER}/entrypoints/web/"
SCRIPT_BYTES = 40 * 1024
# Where markup is made: foreign text goes through its functions, and what else it takes is numbers and own words.
BUILDERS = {f"{WEB}markup.py", f"{WEB}rendering.py"}


def test_foreign_text_is_escaped_and_what_hides_is_drawn() -> None:
    found = str(shown("<b>\u202ea\u200b"))
    assert "<b>" not in found
    assert "U+202E" in found
    assert "U+200B" in found
    assert not {"\u202e", "\u200b"} & set(found)
    assert hidden_count("\u202ea\u200b") == 2
    assert "\u202e" not in xml_text("\u202e<x>")
    assert "<x>" not in xml_text("<x>")


def test_a_long_value_is_folded_with_its_size_and_digest() -> None:
    found = str(shown("x" * (FOLDED_CHARACTERS + 1234)))
    assert "1,234 more characters" in found
    assert "SHA-256" in found
    assert len(found) < FOLDED_CHARACTERS + 300


def test_a_heading_leaves_room_and_says_how_much_it_left_out() -> None:
    found = str(brief("x" * (BRIEF_CHARACTERS + 1234)))
    assert "1,234 more characters" in found
    assert str(brief("x" * BRIEF_CHARACTERS)) == "x" * BRIEF_CHARACTERS


def test_text_from_right_to_left_keeps_what_stands_beside_it_in_place() -> None:
    assert str(shown("\u05e9\u05dc\u05d5\u05dd 7")) == "<bdi>\u05e9\u05dc\u05d5\u05dd 7</bdi>"
    assert str(shown("é 7")) == "é 7"


def test_marks_that_would_be_painted_over_other_lines_are_drawn_as_what_they_are() -> None:
    stacked = "e" + "\u0301" * 7
    assert hidden_count(stacked) == 3
    assert str(shown(stacked)).count("U+0301") == 3
    assert hidden_count("Đặng Thị Ngọc") == hidden_count("e\u0301e\u0301" * 9) == 0


def test_marks_stand_where_they_are_meant() -> None:
    assert str(marked("to <a@b.example>", [(4, 15, "external")])) == (
        'to &lt;<mark class="g-external">a@b.example</mark>&gt;'
    )


def test_markup_is_made_in_one_place() -> None:
    elsewhere = [
        path
        for path in tree.under(WEB, suffix=".py")
        if path not in BUILDERS
        and any(
            isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Markup", "escape")
            for node in ast.walk(tree.parsed(path))
        )
    ]
    assert elsewhere == []


def test_no_template_takes_text_for_markup() -> None:
    templates = {path: tree.text(path) for path in tree.under(f"{WEB}templates/", suffix=".html")}
    assert len(templates) > 10
    unsafe = re.compile(r"\|\s*safe|autoescape|\bon[a-z]+\s*=\s*\"|style\s*=|<script(?![^>]*src=)|javascript:")
    assert {path: unsafe.findall(text) for path, text in templates.items() if unsafe.search(text)} == {}


def test_a_misspelt_name_in_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        environment(Assets()).from_string("{{ nothing_of_that_name }}").render()


def test_no_file_names_a_place_elsewhere_and_scripts_make_no_markup() -> None:
    texts = {path: tree.text(path) for path in tree.under(WEB) if path.endswith((".js", ".css", ".html", ".svg"))}
    outside = re.compile(r"(?<!xmlns=\")https?://(?!www\.w3\.org)")
    assert {path for path, text in texts.items() if outside.search(text)} == set()
    writing = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser")
    assert {path for path, text in texts.items() if writing.search(text)} == set()


def test_all_scripts_together_are_small() -> None:
    assert sum(len(content) for name, content in Assets().files.items() if name.endswith(".js")) <= SCRIPT_BYTES


@pytest.mark.parametrize("sign", [ALLOWED, BLOCKED, ESCALATED, DRY_RUN, ERROR, NOT_REACHED], ids=lambda sign: sign.word)
def test_a_page_has_the_colours_of_the_words(sign: Sign) -> None:
    style = tree.text(f"{WEB}assets/ui.css")
    assert style.count(sign.light) >= 1
    # Chosen, and as the system wishes.
    assert style.count(sign.dark) >= 2
