"""A verification in tasks that any process can do which may read the file, and their answers, as plain JSON.

An answer says what was found sound and the first thing that was not, so that what a task relies on can be checked
beside it: whoever asked reads answers in order and stops at the first fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apsw

from aisecops_server.adapters.sqlite.agent_activity import Told
from aisecops_server.adapters.sqlite.approval_verification import check_approvals
from aisecops_server.adapters.sqlite.budget_verification import check_books
from aisecops_server.adapters.sqlite.edge_table import check_edges
from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.grant_verification import check_grants
from aisecops_server.adapters.sqlite.keeping_verification import check_keeping
from aisecops_server.adapters.sqlite.leaf_verification import CheckedLeaves, check_leaves
from aisecops_server.adapters.sqlite.trace_verification import check_traces

Task = list[Any]
Answer = dict[str, Any]

LEAVES, TRACES = "leaves", "traces"
# Each compares one kind of rows with what the log tells of them. In this order: what is erased is relied on.
_WHOLE = {
    "approvals": check_approvals,
    "books": check_books,
    "grants": check_grants,
}


def run_task(connection: apsw.Connection, task: Task) -> Answer:
    """Do one task. What cannot be read, and what the database itself refuses, is raised as it is.

    Raises:
        apsw.Error: the database cannot be read.
    """
    name, *about = task
    answer: Answer = {"fault": None, "unreadable": False}
    try:
        if name == LEAVES:
            _leaves(connection, about, answer)
        elif name == TRACES:
            _traces(connection, about, answer)
        elif name in _WHOLE:
            _WHOLE[name](connection, about[0])
        elif name == "keeping":
            check_keeping(connection)
        else:
            check_edges(connection)
    except Fault as fault:
        answer["fault"] = [fault.index, fault.problem]
    except (UnicodeDecodeError, TypeError):
        answer["unreadable"] = True
    return answer


def fault_in(answer: Mapping[str, Any]) -> Fault | None:
    """Return what did not agree, if anything."""
    return Fault(*answer["fault"]) if answer["fault"] else None


def _leaves(connection: apsw.Connection, about: list[int], answer: Answer) -> None:
    found = CheckedLeaves()
    try:
        check_leaves(connection, about[0], about[1], found)
    finally:
        answer["roots"] = [root.hex() for root in found.roots]
        answer["newest"] = [leaf.hex() for leaf in found.newest]
        answer["first"] = found.first


def _traces(connection: apsw.Connection, about: list[int], answer: Answer) -> None:
    told = Told(until=about[2])
    check_traces(connection, first=about[0], end=about[1], told=told)
    answer["agents"] = told.as_rows()
