"""What every log finds for the terms of the query language that ask for more than a word."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.log.record import TraceSummary
from aisecops_server.domain.log.trace_figures import EFFECTS
from aisecops_server.domain.log.trace_match import Relation
from aisecops_server.domain.traces.trace_facets import FACETS
from aisecops_server.domain.traces.trace_query import Term, TraceQuery, read_query
from aisecops_server.ports import EventLog

from tests.contract.event_log import listed
from tests.contract.variety import varied
from tests.scenes.log.records import Records

SPENT = (("steps", "10"), ("tokens", "150"), ("cost", "0.05"), ("budget", "60%"), ("budget", "5000%"))
# More than are looked up one by one, and than are in one block.
MANY = 1200
SIGNS = ("", "<", "<=", ">", ">=")


class NarrowingContract:
    """Asks what a fixture ``log`` lists."""

    @pytest.mark.asyncio
    async def test_beginnings_comparisons_and_numbers_find_exactly_what_a_scan_finds(self, log: EventLog) -> None:
        make = Records()
        traces = [f"{number:032x}" for number in range(40)]
        records = [varied(make, number, trace_id=traces[min(number % 40, number * 3 % 25)]) for number in range(200)]
        await log.append_many(records)
        everything = await listed(log, page_size=50)
        assert len({trace.decisions for trace in everything}) > 3
        names = [f"agent:{begin}*" for begin in ("", "agent-", "agent-1", "agent-2x", "b", "agent_1", "agent-%")]
        names += ["tool:t/*", "tool:t/3*", "rule:r.*", "rule:*", "revision:1*"]
        compared = [f"trust:{sign}{level}" for sign in SIGNS for level in ("internal", "external")]
        compared += [f"plans:{sign}{count}" for sign in SIGNS for count in (5, 10, 20)]
        compared += [f"lasted:{sign}{seconds}" for sign in SIGNS[1:] for seconds in (0, 0.16, 0.18, 3600)]
        pairs = itertools.product(names, ["trust:<internal", "plans:>5", "lasted:>0.16", "-tool:t/4", "-rule:r.1*"])
        compared += [f"{field}:{sign}{amount}" for field, amount in SPENT for sign in SIGNS]
        names += [f"effect:{word}" for word in (*EFFECTS, "changing")]
        several = [*pairs, ("plans:>5", "plans:<=10"), ("-plans:>5", "-agent:agent-1*", "-tool:t/3*")]
        found = 0
        for terms in [*((one,) for one in names + compared), *((f"-{one}",) for one in names + compared), *several]:
            narrow = read_query(" ".join(terms)).narrow
            expected = [summary for summary in everything if all(fits(term, summary) for term in terms)]
            assert await listed(log, narrow, page_size=7) == expected, terms
            found += 0 < len(expected) < len(everything)
        assert found > len(names)

    @pytest.mark.asyncio
    async def test_numbers_that_many_traces_have_and_those_that_few_have_are_found(self, log: EventLog) -> None:
        make = Records()
        often = [make.record(trace_id=f"{number:032x}") for number in range(0, MANY, 150) for _ in range(3)]
        await log.append_many([*(make.record(trace_id=f"{number:032x}") for number in range(MANY)), *often])
        everything = await listed(log, page_size=500)
        assert len(everything) == MANY
        for terms in (
            *(("plans:1",), ("-plans:1",), ("plans:>1",), ("-plans:>1",), ("plans:>=1",), ("plans:4",), ("plans:>4",)),
            *(("lasted:>0",), ("lasted:<=0",), ("-lasted:>0",), ("lasted:>0", "plans:>1"), ("plans:1", "lasted:<=0")),
            *(("plans:>1", "agent:agent-*"), ("plans:1", "-agent:agent-*"), ("plans:1", "steps:>5"), ("-plans:<4",)),
        ):
            narrow = read_query(" ".join(terms)).narrow
            expected = [summary for summary in everything if all(fits(term, summary) for term in terms)]
            assert await listed(log, narrow, page_size=500) == expected, terms
            assert (await log.facets(narrow, ())).counted == len(expected), terms

    @pytest.mark.asyncio
    async def test_every_facet_is_what_a_scan_counts(self, log: EventLog) -> None:
        make = Records()
        again = [make.record(trace_id="c" * 32, agent=agent, outcome=Outcome.DENY) for agent in ("agent-0", "late")]
        await log.append_many([*(varied(make, number) for number in range(150)), *again])
        everything = await listed(log, page_size=50)
        for query in (
            "",
            "outcome:blocked",
            "outcome:blocked trust:<internal -tool:t/4",
            "agent:agent-1* tool:t/* plans:>0",
            "plans:>1",
            "rule:r.1 -agent:agent-0",
            "tool:nothing",
            "effect:changing",
            "effect:read -effect:send budget:>60%",
        ):
            found = await log.facets(read_query(query).narrow, FACETS)
            terms = query.split()
            matching = [one for one in everything if all(fits(term, one) for term in terms)]
            assert (found.counted, found.is_whole) == (len(matching), True)
            assert [facet.field for facet in found.facets] == list(FACETS)
            for facet in found.facets:
                field = facet.field.removesuffix("_id")
                others = [term for term in terms if not term.startswith(f"{field}:")]
                counted = [one for one in everything if all(fits(term, one) for term in others)]
                values = Counter(value for one in counted for value in of_field(one, facet.field))
                expected = sorted(values.items(), key=lambda item: (-item[1], item[0]))
                assert [(one.value, one.count) for one in facet.values] == expected, (query, field)
                assert (facet.counted, facet.is_whole, facet.left_out) == (len(counted), True, 0)
        only = await log.facets(read_query("outcome:blocked").narrow, ())
        assert (only.counted > 0, only.facets) == (True, ())

    @pytest.mark.asyncio
    async def test_of_many_values_the_commonest_are_told_and_the_rest_counted(self, log: EventLog) -> None:
        make = Records()
        names = [f"t/{number:03d}" for number in range(90)]
        await log.append_many([make.record(tools=names[: number + 1]) for number in range(90)])
        [facet] = (await log.facets(read_query("").narrow, ("tool",))).facets
        assert [(one.value, one.count) for one in facet.values] == [(f"t/{at:03d}", 90 - at) for at in range(20)]
        assert facet.left_out == 70

    @pytest.mark.asyncio
    async def test_times_beyond_any_of_a_log_narrow_as_all_others_do(self, log: EventLog) -> None:
        make = Records()
        await log.append_many([make.record() for _ in range(3)])
        for query, found in (("to:9999-12-31", 3), ("from:9999-01-01", 0), ("from:1970-01-01 to:2262-05-01", 3)):
            narrow = read_query(query).narrow
            assert len(await listed(log, narrow)) == found, query
            assert (await log.facets(narrow, FACETS)).counted == found, query

    @pytest.mark.asyncio
    async def test_no_sign_of_a_value_is_a_pattern(self, log: EventLog) -> None:
        make = Records()
        names = [
            "a",
            "ab",
            "a*",
            "a**",
            "a%",
            "a_",
            "a?",
            "a[b]",
            "a\\",
            "a\\*",
            "a'",
            "A",
            "*",
            "%",
            "a\U0010ffff",
            "a\ud7ff",
        ]
        await log.append_many([make.record(tools=(name,)) for name in names])
        for name in names:
            exact = read_query(TraceQuery().with_term("tool", name).written()).narrow
            assert [trace.tools for trace in await listed(log, exact)] == [(name,)], name
            begins = TraceQuery((Term("tool", name, relation=Relation.BEGINS),)).written()
            expected = {other for other in names if other.startswith(name)}
            assert {trace.tools[0] for trace in await listed(log, read_query(begins).narrow)} == expected, begins
            left = {trace.tools[0] for trace in await listed(log, read_query(f"-{begins}").narrow)}
            assert left == {*names} - expected


def of_field(summary: TraceSummary, field: str) -> tuple[str, ...]:
    """Return what a summary has in a field of facets."""
    several = {"agent_id": summary.agents, "tool": summary.tools, "rule": summary.rules, "effect": summary.effects}
    single = {"trust": summary.lowest_trust, "revision": summary.bundle_revision}
    return several.get(field) or ((single.get(field) or str(getattr(summary, field)),) if field not in several else ())


def fits(text: str, summary: TraceSummary) -> bool:
    """Say in Python of one summary what a term of the language asks."""
    held = {
        "agent": summary.agents,
        "outcome": (summary.outcome,),
        "tool": summary.tools,
        "rule": summary.rules,
        "revision": (summary.bundle_revision,),
        "effect": (*summary.effects, *(["changing"] if {*summary.effects} - {"read"} else [])),
    }
    if text.startswith("-"):
        return not fits(text[1:], summary)
    field, _, asked = text.replace("blocked", "DENY").partition(":")
    if field in held:
        return any(value.startswith(asked[:-1]) if asked.endswith("*") else value == asked for value in held[field])
    numbers = {
        "plans": summary.decisions,
        "lasted": (summary.last_at_ns - summary.started_at_ns) / 10**9,
        "steps": summary.steps,
        "tokens": summary.tokens,
        "cost": summary.micro_usd / 10**6,
        "budget": summary.budget_share / 100,
    }
    asked = asked.removesuffix("%")
    order = ["unverified", "external", "internal", "trusted"]
    than = asked.lstrip("<=>")
    has, wanted = (
        (float(order.index(summary.lowest_trust)), float(order.index(than)))
        if field == "trust"
        else (float(numbers[field]), float(than))
    )
    compared = {"": has == wanted, "<": has < wanted, "<=": has <= wanted, ">": has > wanted, ">=": has >= wanted}
    return compared[asked.removesuffix(than)]
