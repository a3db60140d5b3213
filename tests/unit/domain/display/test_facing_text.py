from __future__ import annotations

import time

from aisecops_server.domain.display import facing_text
from aisecops_server.domain.display.facing_text import Pair, around, blocks, facing
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "}", ""]), max_size=30)


@given(TEXTS, TEXTS)
def test_every_line_of_both_sides_stands_there_once_in_order(before: list[str], after: list[str]) -> None:
    pairs = facing(before, after)
    assert [pair.before for pair in pairs if pair.before is not None] == list(range(len(before)))
    assert [pair.after for pair in pairs if pair.after is not None] == list(range(len(after)))
    for pair in pairs:
        if not pair.changed:
            assert before[pair.before or 0] == after[pair.after or 0]


@given(TEXTS, TEXTS)
def test_taking_every_block_back_gives_the_text_before(before: list[str], after: list[str]) -> None:
    pairs = facing(before, after)
    changed = {at for block in blocks(pairs) for at in block.pairs}
    back = [
        before[pair.before] if at in changed else after[pair.after or 0]
        for at, pair in enumerate(pairs)
        if at not in changed or pair.before is not None
    ]
    assert back == before


def test_a_line_that_came_stands_beside_nothing() -> None:
    assert facing(["a", "c"], ["a", "b", "c"]) == [
        Pair(0, 0, changed=False),
        Pair(None, 1, changed=True),
        Pair(1, 2, changed=False),
    ]


def test_runs_that_touch_are_one() -> None:
    assert around({2, 8}, 20) == [range(12)]
    assert around({0, 19}, 20) == [range(4), range(16, 20)]


def test_two_long_texts_of_the_same_few_lines_take_no_time() -> None:
    before = ["}", "a"] * facing_text.MOST_COMPARED
    after = ["a", "}"] * facing_text.MOST_COMPARED
    begun = time.process_time()
    pairs = facing(["x", *before], ["y", *after])
    assert time.process_time() - begun < 2
    assert all(pair.changed for pair in pairs)
