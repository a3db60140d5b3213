"""Events of some types with all that they tell, read for a check that writes anew what they changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apsw

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.events.event import details_in

_READ = 4096


@dataclass(frozen=True, slots=True)
class Told:
    """One event. ``is_erased`` says that nothing stands where its payload was."""

    index: int
    type: str
    occurred_at_ns: int
    details: dict[str, Any]
    is_erased: bool


def told(connection: apsw.Connection, index: int, *, types: str) -> Iterator[Told]:
    """Yield the events from ``index`` on whose type meets the SQL condition ``types``, in log order.

    Raises:
        Fault: one cannot be read.
    """
    query = (
        "SELECT e.idx, e.type, e.occurred_at, e.body, y.bytes FROM event AS e LEFT JOIN payload AS y ON y.idx = e.idx"  # noqa: S608 - constant parts
        f" WHERE e.idx >= ? AND ({types}) ORDER BY e.idx LIMIT {_READ}"
    )
    rows: list[Row]
    while rows := connection.execute(query, (index,)).fetchall():
        for at, kind, occurred_at, body, payload in rows:
            try:
                details = details_in(kind, body, payload)
            except (ValueError, KeyError, TypeError) as error:
                raise Fault(at, f"event {at} cannot be read") from error
            yield Told(at, kind, occurred_at, details, not payload and b',"payload":"' in body)
        index = rows[-1][0] + 1
