"""However values are looked for, the same is found; and no shape is missed for the signs that are asked for first."""

from __future__ import annotations

from collections.abc import Iterator

from aisecops_server.domain.grounding.argument_values import _WHOLE, argument_values
from aisecops_server.domain.grounding.normal_form import normal_form
from aisecops_server.domain.grounding.source_text import json_scalars, source_text
from aisecops_server.domain.grounding.value_search import Sighting, ValueSearch
from aisecops_server.domain.plans.provenance import SourceId
from hypothesis import example, given
from hypothesis import strategies as st

_SOURCE = SourceId("page")
_PIECES = st.sampled_from(
    ["ab", "aba", "13", "no. 13", "x@y.org", "y.org", "https://y.org/a", " ", "-", ".", "é", "\n"]
)
_TEXTS = st.lists(_PIECES, max_size=12).map("".join)


@given(values=st.lists(_TEXTS, min_size=1, max_size=6), text=_TEXTS)
@example(values=["aa"], text="aaaa aa")
@example(values=["ab", "b"], text='{"k": "ab b abab"}')
def test_few_values_are_found_where_the_automaton_finds_them(values: list[str], text: str) -> None:
    arguments = {f"argument{number}": value for number, value in enumerate(values)}
    searches = [ValueSearch(few=few) for few in (0, 1000)]
    found = []
    for search in searches:
        held = search.add_all(argument_values(arguments))
        search.read(_SOURCE, source_text(text, json_scalars))
        found.append(list(_seen(search, held)))
    assert found[0] == found[1]


@given(text=st.text(alphabet="ab1@#:/\\.-_+ ,~é", max_size=24))
def test_a_value_of_a_shape_has_a_sign_of_it(text: str) -> None:
    form = normal_form(text)
    assert all(not signs.isdisjoint(form) for _, signs, pattern in _WHOLE if pattern.match(form))


def _seen(search: ValueSearch, held: range) -> Iterator[tuple[str, dict[SourceId, Sighting]]]:
    for value, sightings in search.results(held):
        yield value.value, dict(sightings)
