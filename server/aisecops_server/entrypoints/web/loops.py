"""Loops in a trace: plans in a row that differ in nothing but when they were decided are shown once, with how many."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from aisecops_server.entrypoints.web.strips import IDLE_SECONDS, StepRow

# Two that are alike are read sooner than a number is.
LEAST = 3


def folded(rows: Iterable[StepRow]) -> list[StepRow]:
    """Return the rows of every plan that is not like the one before it, and how many plans in a row are like it.

    A pause ends a loop, so that none is hidden; two plans that are alike stay two.
    """
    plans = [list(plan) for _, plan in itertools.groupby(rows, key=lambda row: row.plan)]
    shown: list[StepRow] = []
    for loop in _loops(plans):
        if len(loop) < LEAST:
            shown.extend(itertools.chain.from_iterable(loop))
        else:
            shown.extend(replace(row, times=len(loop)) for row in loop[0])
    return shown


def _loops(plans: Iterable[Sequence[StepRow]]) -> Iterator[list[Sequence[StepRow]]]:
    loop: list[Sequence[StepRow]] = []
    before: object = None
    for plan in plans:
        look = [(row.step_id, row.tool, row.sign, row.cells, row.trust, row.rules) for row in plan]
        if loop and (look != before or plan[0].idle >= IDLE_SECONDS):
            yield loop
            loop = []
        loop.append(plan)
        before = look
    if loop:
        yield loop
