"""What a verification found. It never leaves this package: callers get a report."""

from __future__ import annotations


class Fault(Exception):  # noqa: N818 - carries a finding from where it is seen to the report, and is no failure
    """The first thing that does not agree; ``index`` is the leaf it concerns, if there is one."""

    def __init__(self, index: int | None, problem: str) -> None:
        super().__init__(index, problem)
        self.index = index
        self.problem = problem
