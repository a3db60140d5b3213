"""One trace: its steps with their gate strips, its events, its story, and the questions that an investigation asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aisecops.v1 import audit_service_pb2 as api
from aisecops.v1 import decision_pb2, decision_service_pb2, evidence_service_pb2
from starlette.responses import Response

from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.display.words import ALLOWED, BLOCKED, ESCALATED, NOT_REACHED, counted, taken
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.web.addresses import address
from aisecops_server.entrypoints.web.evidence_page import package_of
from aisecops_server.entrypoints.web.loops import folded
from aisecops_server.entrypoints.web.minimap import minimap
from aisecops_server.entrypoints.web.questions import answers
from aisecops_server.entrypoints.web.rendering import tone
from aisecops_server.entrypoints.web.story import story
from aisecops_server.entrypoints.web.strips import INCIDENT, SIGNS, STAGES, StepRow, step_rows
from aisecops_server.entrypoints.web.visitor import Page, Visitor

PAGE = 40
VIEWS = ("steps", "events", "story")
EVENT_TABS = ("why", "evidence", "provenance", "rego", "integrity")
SIEVES: Mapping[str, str] = {
    "": "all",
    "stopped": "not allowed",
    "untrusted": "untrusted source",
    "ran": "ran",
    "incident": "incident",
}
_V = TypeVar("_V")
_UNTRUSTED = ("external", "unverified")


async def trace_page(visitor: Visitor) -> Page:
    """Show a trace."""
    trace_id = visitor.path("trace")
    shown = _Shown.of(visitor)
    is_whole = visitor.wants_data or shown.view != "steps"
    trace = await read_trace(visitor, trace_id, view=api.TRACE_VIEW_UNSPECIFIED if is_whole else api.TRACE_VIEW_OUTLINE)
    decision = deciding(trace)
    explained = await _explained(visitor, decision)
    title = f"Trace {trace_id[:12]}…"
    if visitor.wants_data:
        return Page("trace.html", title, {}, {"trace": trace, "explanation": explained})
    rows = step_rows(trace)
    loops = folded(rows)
    # Who searches is shown everything that is found.
    every = rows if shown.find or not shown.fold else loops
    listed = [row for row in every if _keeps(row, shown.only) and (not shown.find or row.holds(shown.find.lower()))]
    view = {
        "trace": trace,
        "trace_id": trace_id,
        "shown": shown,
        "decision": decision,
        "stages": STAGES,
        "signs": SIGNS,
        "not_reached": NOT_REACHED,
        "rows": listed[shown.start : shown.start + PAGE],
        "all_rows": len(rows),
        "folds": _folds(shown, trace_id, len(rows) - len(loops)),
        "each": shown.to(trace_id, fold="0"),
        "map": minimap(listed, first=min(shown.start, max(0, len(listed) - 1)), count=PAGE),
        "sieves": _sieves(shown, trace_id, rows),
        "views": [(name, shown.to(trace_id, view=name)) for name in VIEWS],
        "events": trace.events[shown.start : shown.start + PAGE] if shown.view == "events" else (),
        "story": story(trace)[shown.start : shown.start + PAGE] if shown.view == "story" else (),
        "pages": _pages(shown, trace_id, len(_items(shown, trace, listed))),
        "answers": await answers(visitor, trace, decision, explained),
        "counts": _counts(rows),
        "taken": taken(
            tokens=trace.summary.tokens,
            micro_usd=trace.summary.micro_usd,
            budget_share=trace.summary.budget_share,
        ),
        "event": _event(trace, visitor.query("event")),
        "event_tab": visitor.query("tab") if visitor.query("tab") in EVENT_TABS else "",
        # All of them, where the page shows some: whoever scrolls asks for nothing more.
        "columns": _columns(listed) if len(listed) > PAGE and shown.view == "steps" else None,
    }
    return Page("trace.html", title, view, {}, "Traces", command=("trace", "show", trace_id))


def _columns(kept: Sequence[StepRow]) -> Mapping[str, Any]:
    """Return rows as columns, for the list that draws only what is on the screen."""
    tools = _numbered(row.tool for row in kept)
    # Many rows have one strip, so one of them says how it looks.
    strips, strip = {row.cells: row for row in kept}, _numbered(row.cells for row in kept)
    trusts = _numbered(row.trust for row in kept)
    signs = _numbered(row.sign for row in kept)
    return {
        "signs": [[tone(sign), sign.glyph, sign.word] for sign in signs],
        "sign": [signs[row.sign] for row in kept],
        "words": [strips[cells].words() for cells in strip],
        # The list that draws them writes text as it comes.
        "tools": [visible(tool) for tool in tools],
        "strips": [strips[cells].codes for cells in strip],
        "trusts": list(trusts),
        "at": [row.at for row in kept],
        "plan": [row.plan for row in kept],
        "step": [visible(row.step_id) for row in kept],
        "event": [row.event_id for row in kept],
        "tool": [tools[row.tool] for row in kept],
        "strip": [strip[row.cells] for row in kept],
        "trust": [trusts[row.trust] for row in kept],
        "when": [row.when for row in kept],
        "ms": [round(row.milliseconds, 1) for row in kept],
        # Few of them, if any.
        "times": {row.at: row.times for row in kept if row.times > 1},
    }


def _numbered(values: Iterable[_V]) -> dict[_V, int]:
    """Return each value once, with its number."""
    return {value: number for number, value in enumerate(dict.fromkeys(values))}


async def evidence(visitor: Visitor) -> Response:
    """Give the evidence package of a trace, as the command line makes it."""
    request = evidence_service_pb2.ExportEvidenceRequest(trace_ids=[visitor.path("trace")])
    return await package_of(visitor, request, f"evidence-{visitor.path('trace')}.zip")


async def read_trace(visitor: Visitor, trace_id: str, *, view: api.TraceView.ValueType) -> api.GetTraceResponse:
    """Return a trace, or what its rows show of it.

    Raises:
        AisecopsError: there is none, or the visitor may not read it.
    """
    request = api.GetTraceRequest(trace_id=trace_id, view=view)
    return await visitor.ask("AuditService/GetTrace", request, api.GetTraceResponse)


def deciding(trace: api.GetTraceResponse) -> decision_pb2.Decision | None:
    """Return the decision that makes the trace what it is: the first of its most restrictive ones."""
    wanted = trace.summary.outcome
    return next(
        (found for found in trace.decisions if decision_pb2.Outcome.Name(found.outcome) == f"OUTCOME_{wanted}"),
        trace.decisions[0] if trace.decisions else None,
    )


@dataclass(frozen=True, slots=True)
class _Shown:
    """The state of the page, all of which stands in its address."""

    view: str
    only: str
    find: str
    start: int
    fold: bool

    @classmethod
    def of(cls, visitor: Visitor) -> _Shown:
        view, only = visitor.query("view") or "steps", visitor.query("only")
        if view not in VIEWS or only not in SIEVES:
            raise InvalidRequestError(f"view is one of {', '.join(VIEWS)}", field="view")
        return cls(view, only, visitor.query("find"), visitor.number("start"), visitor.query("fold") != "0")

    def to(self, trace_id: str, **changes: Any) -> str:
        """Return the address of the page with some of its state changed."""
        state = {"view": self.view, "only": self.only, "find": self.find, "start": 0, **changes}
        state.setdefault("fold", "" if self.fold else "0")
        state["view"] = "" if state["view"] == "steps" else state["view"]
        return address(f"/traces/{trace_id}", **state)


async def _explained(
    visitor: Visitor, decision: decision_pb2.Decision | None
) -> decision_service_pb2.ExplainResponse | None:
    if decision is None:
        return None
    request = decision_service_pb2.ExplainRequest(decision_id=decision.decision_id)
    found, _ = await visitor.attempt("DecisionService/Explain", request, decision_service_pb2.ExplainResponse)
    return found


def _event(trace: api.GetTraceResponse, event_id: str) -> str:
    """Return the event that a link shows beside the list, as far as it is one of the trace."""
    return event_id if event_id and any(event.event_id == event_id for event in trace.events) else ""


def _keeps(row: StepRow, only: str) -> bool:
    match only:
        case "stopped":
            return row.sign in (BLOCKED, ESCALATED)
        case "untrusted":
            return row.trust in _UNTRUSTED
        case "ran":
            return row.cells[8] in (ALLOWED, INCIDENT)
        case "incident":
            return INCIDENT in row.cells
        case _:
            return True


def _sieves(shown: _Shown, trace_id: str, rows: Sequence[StepRow]) -> list[tuple[str, str, int, bool]]:
    """Return the pills: word, address, how many rows it keeps, whether it is chosen."""
    return [
        (word, shown.to(trace_id, only=name), sum(_keeps(row, name) for row in rows), name == shown.only)
        for name, word in SIEVES.items()
    ]


def _folds(shown: _Shown, trace_id: str, repeated: int) -> tuple[str, str] | None:
    """Return what is said of loops, and where it is otherwise; nothing where there are none."""
    if not repeated or shown.find:
        return None
    if shown.fold:
        return f"{counted(repeated, 'repeated step')} folded: show each", shown.to(trace_id, fold="0")
    return "fold loops", shown.to(trace_id, fold="")


def _items(shown: _Shown, trace: api.GetTraceResponse, kept: Sequence[StepRow]) -> Sequence[object]:
    match shown.view:
        case "events":
            return trace.events
        case "story":
            return trace.decisions
        case _:
            return kept


def _pages(shown: _Shown, trace_id: str, count: int) -> dict[str, Any]:
    last = shown.start + PAGE
    return {
        "said": f"{min(shown.start + 1, count)}–{min(last, count)} of {count:,}",
        "before": shown.to(trace_id, start=max(0, shown.start - PAGE)) if shown.start else "",
        "after": shown.to(trace_id, start=last) if last < count else "",
        "starts": shown.start,
        "needed": count > PAGE,
    }


def _counts(rows: Sequence[StepRow]) -> str:
    tally: dict[str, int] = {}
    for row in rows:
        tally[row.sign.word] = tally.get(row.sign.word, 0) + 1
    return ", ".join([counted(len(rows), "step"), *(f"{count:,} {word}" for word, count in tally.items())])
