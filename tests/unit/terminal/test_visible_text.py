from __future__ import annotations

import io
import json

import pytest
from aisecops_server.domain.display.visible_text import json_text, visible
from aisecops_server.terminal.consoles import make_console
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

HOSTILE = {
    "moves the cursor": ("\x1b[2A", "\\x1b[2A"),
    "names the window": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "is one-byte CSI": ("\x9b31m", "\\x9b31m"),
    "turns text around": ("abc\u202exyz", "abc\\u202exyz"),
    "hides in no width": ("pay\u200bpal", "pay\\u200bpal"),
    "writes in tags": ("hi\U000e0041", "hi\\U000e0041"),
    "goes back to the line's start": ("blocked\rallowed", "blocked\\x0dallowed"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_would_steer_or_hide_is_shown_as_its_escape(case: str) -> None:
    text, shown = HOSTILE[case]
    assert visible(text) == shown


def test_ordinary_text_of_any_script_stays_as_it_is() -> None:
    text = "Grüße, 世界, שלום, — ✓ ▲\n\tnext line"
    assert visible(text) == text


@pytest.mark.parametrize("case", ["moves the cursor", "names the window", "is one-byte CSI", "turns text around"])
def test_nothing_that_is_drawn_can_steer_the_terminal(case: str) -> None:
    text, _ = HOSTILE[case]
    stream = io.StringIO()
    table = Table(text)
    table.add_row(text)
    console = make_console(stream, color="never")
    console.print(table, text)
    assert [mark for mark in ("\x1b", "\x07", "\x9b", "\u202e") if mark in stream.getvalue()] == []


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_that_is_safe_to_show_says_the_same(document: object) -> None:
    shown = json_text(document)
    assert json.loads(shown) == document
    assert visible(shown) == shown
