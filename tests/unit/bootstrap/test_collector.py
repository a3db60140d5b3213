from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from aisecops_server.bootstrap.collector import NEW_VALUES, seldom_collecting


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(("usual", "meanwhile"), [(700, NEW_VALUES), (NEW_VALUES + 1, NEW_VALUES + 1)])
def test_cycles_are_looked_for_more_seldom_and_then_as_before(usual: int, meanwhile: int) -> None:
    gc.set_threshold(usual, 11, 12)
    with seldom_collecting():
        assert gc.get_threshold() == (meanwhile, 11, 12)
    assert gc.get_threshold() == (usual, 11, 12)


def test_who_never_looks_for_cycles_does_not_begin_to() -> None:
    gc.set_threshold(0)
    with seldom_collecting():
        assert gc.get_threshold()[0] == 0
