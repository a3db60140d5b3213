"""Are grants what the log says? Every grant from the events that tell of it, and no grant besides.

Relies on events that were verified before. A grant that was closed is compared at once, so memory holds what is open;
what was revoked is compared last, because it may be noted of one that was closed in the same moment. One that was given
up may have a report that was told late: its event is compared with the row, and such rows are as many as such events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import apsw
import orjson

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.told import Told, told
from aisecops_server.domain.events.payload import blanked
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.grants.execution import report_digest
from aisecops_server.domain.grants.grant import GrantState

_ISSUED, _REDEEMED, _REVOKED = "grant.issued", "grant.redeemed", "grant.revoked"
_TOLD_LATE = "execution.told_late"
_ENDED = {f"execution.{state.value}": state for state in GrantState if state.is_final}
GRANT_EVENTS = (_ISSUED, _REDEEMED, _REVOKED, _TOLD_LATE, *_ENDED)
_TYPES = f"e.type IN ({', '.join(map(repr, GRANT_EVENTS))})"
_ROW = """
    SELECT trace_id, step_id, agent_id, claims, overdue_at, state, redemption, report
    FROM execution_grant WHERE grant_id = ?"""
_LATE = "SELECT count(*) FROM execution_grant WHERE state = ? AND report != ''"


@dataclass(slots=True)
class _Expected:
    """What a row must be. What is ``None`` no event says: it was erased, or events did not tell it in those days."""

    claims: dict[str, Any]
    is_erased: bool
    overdue_at: int | None
    state: GrantState = GrantState.ISSUED
    redemption: str | None = ""
    report: str | None = ""


@dataclass(slots=True)
class _Recounted:
    """Grants as the log says they must be, those that are closed set apart by their number."""

    open: dict[str, _Expected] = field(default_factory=dict)
    issued: int = 0
    told_late: int = 0
    revoked: set[str] = field(default_factory=set)


def check_grants(connection: apsw.Connection, index: int = 0) -> None:
    """Compare grants with the events in the log, beside a running writer; none before ``index`` tells of them.

    Raises:
        Fault: the first thing that does not agree.
    """
    found = _Recounted()
    following = _recount(connection, found, index)
    with connection:
        # Only the last part and what is open have to be of one moment.
        _recount(connection, found, following)
        for name, expected in found.open.items():
            _compare(connection, name, expected)
        held = {name for (name,) in connection.execute("SELECT grant_id FROM execution_grant WHERE revoked = 1")}
        for name in sorted(held.symmetric_difference(found.revoked)):
            raise Fault(None, f"grant {name} is revoked in the log or in its row, but not in both")
        if (count := connection.execute("SELECT count(*) FROM execution_grant").get) != found.issued:
            raise Fault(None, f"{count} grants are kept, the log tells of {found.issued}")
        if (late := connection.execute(_LATE, (GrantState.EXPIRED_UNKNOWN.value,)).get) != found.told_late:
            raise Fault(None, f"{late} grants were told of late, the log tells of {found.told_late}")


def _recount(connection: apsw.Connection, found: _Recounted, index: int) -> int:
    for event in told(connection, index, types=_TYPES):
        try:
            _apply(connection, found, event)
        except (KeyError, TypeError, ValueError) as error:
            raise Fault(event.index, f"event {event.index} does not tell what became of a grant") from error
        index = event.index + 1
    return index


def _apply(connection: apsw.Connection, found: _Recounted, event: Told) -> None:
    if event.type == _ISSUED:
        _issue(found, event)
    elif event.type == _REVOKED:
        found.revoked.update(event.details["grants"])
    elif event.type == _TOLD_LATE:
        found.told_late += 1
        _compare_late(connection, event)
    elif event.type == _REDEEMED:
        grant = _open(found, event)
        grant.state, grant.redemption = GrantState.REDEEMED, event.details.get("redemption_sha256")
    else:
        grant = _open(found, event)
        grant.state = _ENDED[event.type]
        grant.report = _report(event)
        name = str(event.details["grant"])
        _compare(connection, name, grant)
        del found.open[name]


def _issue(found: _Recounted, event: Told) -> None:
    seconds = event.details.get("report_seconds")
    for claims in event.details["grants"]:
        overdue = None if seconds is None else int(claims["exp"]) + int(seconds)
        found.open[str(claims["jti"])] = _Expected(claims, event.is_erased, overdue)
        found.issued += 1


def _report(event: Told) -> str | None:
    if event.is_erased or _ENDED[event.type] is GrantState.EXPIRED_UNKNOWN:
        return None
    return report_digest(event.details)


def _compare_late(connection: apsw.Connection, event: Told) -> None:
    name = str(event.details["grant"])
    row = connection.execute("SELECT state, report FROM execution_grant WHERE grant_id = ?", (name,)).fetchone()
    if row is None:
        raise Fault(None, f"grant {name} is missing")
    expected = row[1] if event.is_erased else report_digest(event.details)
    if row != (GrantState.EXPIRED_UNKNOWN.value, expected):
        raise Fault(None, f"grant {name}: its state, report is not what the log says")


def _open(found: _Recounted, event: Told) -> _Expected:
    grant = found.open.get(str(event.details["grant"]))
    if grant is None or (event.type == _REDEEMED and grant.state is not GrantState.ISSUED):
        raise Fault(event.index, f"event {event.index} tells of a grant that could not take it")
    return grant


def _compare(connection: apsw.Connection, name: str, expected: _Expected) -> None:
    row = connection.execute(_ROW, (name,)).fetchone()
    if row is None:
        raise Fault(None, f"grant {name} is missing")
    trace, step, agent, claims, overdue_at, state, redemption, report = row
    known = expected.claims
    differing = {
        "trace": trace != known["trace_id"],
        "step": step != known["step_id"],
        "agent": agent != known["sub"],
        "claims": not _same_claims(claims, expected),
        "time to report": expected.overdue_at not in (None, overdue_at),
        "state": state != expected.state,
        "redemption": expected.redemption not in (None, digest(redemption.encode()) if redemption else ""),
        "report": expected.report not in (None, report),
    }
    if any(differing.values()):
        named = ", ".join(part for part, differs in differing.items() if differs)
        raise Fault(None, f"grant {name}: its {named} is not what the log says")


def _same_claims(held: bytes, expected: _Expected) -> bool:
    if not expected.is_erased:
        return held == canonical_bytes(expected.claims)
    left = blanked(_ISSUED, {"grants": [orjson.loads(held)]})["grants"][0]
    return canonical_bytes(left) == canonical_bytes(expected.claims)
