"""An auditor of the books who shares no code with the ledger: figures from events by plain sums, and from the file.

It also judges every reservation by itself: was there room for it when it was made?
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

Period = tuple[str, int]
_FIGURES = """
    SELECT owner, metric, window, started_at, used, reserved FROM budget_period JOIN budget ON number = budget"""


@dataclass
class Audit:
    """What events say must be: used and reserved by budget and period, and what is wrong with how it came about."""

    used: dict[Period, int] = field(default_factory=lambda: defaultdict(int))
    reserved: dict[Period, int] = field(default_factory=lambda: defaultdict(int))
    promised: dict[tuple[str, str], dict[Period, int]] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    admitted: int = 0

    def hear(self, kind: str, details: Mapping[str, Any]) -> None:
        if kind == "budget.reserved":
            self._reserved(details)
        elif kind == "budget.adjusted":
            self.used[details["budget"], details["period"]] += details["by"]
            if details["frozen"] is not None:
                (self.frozen.add if details["frozen"] else self.frozen.discard)(details["budget"])
        elif kind.startswith("budget.") and kind not in ("budget.checked", "budget.overrun"):
            for step in details["steps"]:
                self._ended(details["decision"], step)

    def figures(self) -> dict[Period, tuple[int, int]]:
        return {period: (self.used[period], self.reserved[period]) for period in {*self.used, *self.reserved}}

    def _reserved(self, details: Mapping[str, Any]) -> None:
        for charge in details["charges"]:
            period = (charge["budget"], charge["period"])
            taken = charge["spent"] + sum(charge["steps"].values())
            if charge["enforced"]:
                self.admitted += 1
                if self.used[period] + self.reserved[period] + taken > charge["limit"]:
                    self.problems.append(f"{details['decision']} was let beyond the limit of {period}")
                if charge["budget"] in self.frozen:
                    self.problems.append(f"{details['decision']} was let into the frozen {period}")
            self.used[period] += charge["spent"]
            for step in details["steps"]:
                amounts = self.promised.setdefault((details["decision"], step), {})
                amounts[period] = amounts.get(period, 0) + charge["steps"].get(step, 0)
                self.reserved[period] += charge["steps"].get(step, 0)

    def _ended(self, decision: str, step: Mapping[str, Any]) -> None:
        late = step["ending"] == "late"
        promised = self.promised.pop((decision, step["step"]), None)
        if (promised is None) != late:
            self.problems.append(f"{decision} {step['step']} ended {step['ending']} in the wrong moment")
        for amount in step["amounts"]:
            period = (amount["budget"], amount["period"])
            self.used[period] += amount["actual"] - (amount["reserved"] if late else 0)
            self.reserved[period] -= 0 if late else amount["reserved"]
            if not late and promised is not None and promised.pop(period, 0) != amount["reserved"]:
                self.problems.append(f"{decision} {step['step']} settles what was not promised")
            if amount["actual"] != {"expired": amount["reserved"], "void": 0}.get(step["ending"], amount["actual"]):
                self.problems.append(f"{decision} {step['step']} ended {step['ending']} at a wrong figure")
            if amount["actual"] > amount["reserved"] > 0:
                self.frozen.add(amount["budget"])
        if any((promised or {}).values()):
            self.problems.append(f"{decision} {step['step']} ended and left a promise")


def audited(events: Iterable[tuple[str, Mapping[str, Any]]]) -> Audit:
    """Return what events, given as types and details in log order, say must be."""
    audit = Audit()
    for kind, details in events:
        audit.hear(kind, details)
    return audit


def problems(path: Path) -> list[str]:
    """Return everything in which the books of a log's file and its events disagree, or are wrong by themselves."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    with connection:
        rows = connection.execute("SELECT type, body FROM event ORDER BY idx").fetchall()
        audit = audited((kind, json.loads(body)["details"]) for kind, body in rows)
        kept = {
            (f"{owner}/{metric}/{window}", started): (used, reserved)
            for owner, metric, window, started, used, reserved in connection.execute(_FIGURES)
        }
        frozen = {
            f"{owner}/{metric}/{window}"
            for owner, metric, window in connection.execute("SELECT owner, metric, window FROM budget WHERE frozen")
        }
        open_ones = {
            decision
            for (decision,) in connection.execute("SELECT decision_id FROM reservation WHERE state = 'RESERVED'")
        }
    connection.close()
    found = list(audit.problems)
    for period, figures in audit.figures().items():
        if kept.pop(period, (0, 0)) != figures:
            found.append(f"{period} is not used and reserved {figures}")
    found += [f"{period} is {figures} for no reason" for period, figures in kept.items() if figures != (0, 0)]
    if frozen != audit.frozen:
        found.append(f"frozen are {sorted(frozen)} rather than {sorted(audit.frozen)}")
    if open_ones != {decision for decision, _ in audit.promised}:
        found.append("other reservations are open than those that the events leave open")
    return found
