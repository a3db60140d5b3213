"""The nine figures of governance, counted from what the API answers; each names the records that it counts.

A figure is over the latest traces, at most ``MOST_TRACES``; a page says over how many. Nothing is kept between visits,
so there is no second truth beside the log. Pages and the command line show the same ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from aisecops.v1 import (
    approval_pb2,
    approval_service_pb2,
    audit_service_pb2,
    bundle_service_pb2,
    event_pb2,
    execution_service_pb2,
    investigation_service_pb2,
    replay_pb2,
    replay_service_pb2,
)
from google.protobuf.message import Message

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, ESCALATED, TRUST_ORDER, Sign, bare, counted
from aisecops_server.domain.grants.incident import IncidentKind
from aisecops_server.domain.traces.trace_query import Term, TraceQuery
from aisecops_server.entrypoints.web.addresses import address, agent_word

MOST_TRACES = 500
WEEK = 7
_DAY = 86_400
MOST_GRAPHS = 25
_MOST_PARTS = 6
# What ran otherwise than decided is an incident; these are the ones about the call itself.
_ANOMALIES = frozenset(
    kind.value
    for kind in (
        IncidentKind.RUN_WITHOUT_GRANT,
        IncidentKind.OTHER_TOOL,
        IncidentKind.OTHER_ARGUMENTS,
        IncidentKind.OTHER_CALLER,
        IncidentKind.OUT_OF_ORDER,
        IncidentKind.GRANT_REUSED,
        IncidentKind.GRANT_FORGED,
    )
)


_M = TypeVar("_M", bound=Message)


class Asking(Protocol):
    """Who asks for the figures: a visitor of a page, or a command."""

    async def ask(self, call: str, request: Message, answer: type[_M]) -> _M:
        """Make a call with one answer."""

    async def attempt(self, call: str, request: Message, answer: type[_M]) -> tuple[_M | None, str]:
        """Make a call that can be done without; return its answer, or ``None`` with why there is none."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its number, what it means, how it splits up, and where the records behind it are.

    ``days`` are how many of the records are of which day, by the day's number since 1970, where records have a time.
    Where they have none, what is drawn are the ``parts``. ``sign`` gives the colour.
    """

    name: str
    number: str
    means: str
    link: str
    parts: Sequence[tuple[str, int, str]] = ()
    bad: bool = False
    days: Mapping[int, int] | None = None
    sign: Sign = ALLOWED

    def change(self, last: int) -> tuple[int, int] | None:
        """Return how many there were in the week up to day ``last``, and how many in the one before."""
        if self.days is None:
            return None
        weeks = (range(last - WEEK + 1, last + 1), range(last - 2 * WEEK + 1, last - WEEK + 1))
        week, before = (sum(self.days.get(day, 0) for day in days) for days in weeks)
        return week, before


@dataclass(frozen=True, slots=True)
class Material:
    """What was read for the figures; ``None`` where the visitor's roles do not include it."""

    traces: Sequence[event_pb2.TraceSummary] = ()
    approvals: Sequence[approval_pb2.Approval] = ()
    incidents: Sequence[execution_service_pb2.Incident] = ()
    status: bundle_service_pb2.GetStatusResponse | None = None
    replay: replay_pb2.Replay | None = None
    graphs: Sequence[investigation_service_pb2.GetExecutionGraphResponse] = field(default_factory=tuple)


async def read_material(visitor: Asking) -> Material:
    """Read everything that the figures are counted from.

    Raises:
        AisecopsError: the visitor may not read traces.
    """
    traces = (
        await visitor.ask(
            "AuditService/ListTraces",
            audit_service_pb2.ListTracesRequest(page_size=MOST_TRACES),
            audit_service_pb2.ListTracesResponse,
        )
    ).traces
    approvals, _ = await visitor.attempt(
        "ApprovalService/ListApprovals",
        approval_service_pb2.ListApprovalsRequest(page_size=MOST_TRACES),
        approval_service_pb2.ListApprovalsResponse,
    )
    incidents, _ = await visitor.attempt(
        "ExecutionService/ListIncidents",
        execution_service_pb2.ListIncidentsRequest(page_size=MOST_TRACES),
        execution_service_pb2.ListIncidentsResponse,
    )
    status, _ = await visitor.attempt(
        "BundleService/GetStatus", bundle_service_pb2.GetStatusRequest(), bundle_service_pb2.GetStatusResponse
    )
    return Material(
        traces,
        approvals.approvals if approvals else (),
        incidents.incidents if incidents else (),
        status,
        await _latest_replay(visitor),
        await _graphs(visitor, traces),
    )


def figures(found: Material) -> Sequence[Figure]:
    """Return the nine figures."""
    return (
        _blocked(found),
        _approvals(found),
        _drift(found),
        _incidents(found),
        _coverage(found),
        _anomalies(found),
        _trust(found),
        _replayed(found),
        _graph_coverage(found),
    )


def _blocked(found: Material) -> Figure:
    blocked = [trace for trace in found.traces if trace.outcome == "DENY"]
    rules = Counter(rule for trace in blocked for rule in trace.rules)
    most = rules.most_common(_MOST_PARTS)
    parts = [
        (rule, count, address("/traces", q=TraceQuery((Term("outcome", "blocked"), Term("rule", rule))).written()))
        for rule, count in most
    ]
    means = "Traces in which a plan was denied, and the rules that fired in them."
    return Figure(
        "Blocked execution plans",
        str(len(blocked)),
        means,
        "/traces?q=outcome:blocked",
        parts,
        days=_began(blocked),
        sign=BLOCKED,
    )


def _approvals(found: Material) -> Figure:
    states = Counter(bare(approval_pb2.ApprovalState.Name(one.state)).lower() for one in found.approvals)
    parts = [(state, count, address("/approvals", state=state)) for state, count in states.most_common()]
    means = "Plans that people were asked about, by what became of the request."
    days = _by_day(one.requested_at.seconds for one in found.approvals)
    number = str(len(found.approvals))
    return Figure("Approval-required actions", number, means, "/approvals?state=all", parts, days=days, sign=ESCALATED)


def _drift(found: Material) -> Figure:
    status = found.status.status if found.status else None
    unserved = int(bool(status and status.wanted and status.wanted != status.live.commit))
    report = found.replay.report if found.replay else None
    flips = report.looser + report.stricter if report else 0
    link = f"/replays/{found.replay.replay_id}" if found.replay else "/replays/new"
    parts = [
        ("wanted revision is not live", unserved, "/revisions"),
        ("decisions that flip, looser", int(report.looser) if report else 0, link),
        ("decisions that flip, stricter", int(report.stricter) if report else 0, link),
    ]
    means = "The wanted revision is not the live one, and decisions that came out otherwise in the latest replay."
    return Figure("Policy drift events", str(unserved + flips), means, link, parts, bad=bool(unserved))


def _incidents(found: Material) -> Figure:
    kinds = Counter(one.kind for one in found.incidents)
    first = {one.kind: one.event for one in found.incidents}
    parts = [
        (kind, count, f"/traces/{first[kind].trace_id}/events/{first[kind].event_id}")
        for kind, count in kinds.most_common()
    ]
    means = "Calls that ran, or were to run, otherwise than it was decided."
    number = len(found.incidents)
    return Figure(
        "Runtime incidents",
        str(number),
        means,
        parts[0][2] if parts else "/traces",
        parts,
        bad=number > 0,
        days=_told(found.incidents),
        sign=BLOCKED,
    )


def _coverage(found: Material) -> Figure:
    means = "Recorded decisions that came out again on their own policy and engine, in the latest replay."
    if not found.replay:
        return Figure("Audit replay coverage", "–", f"{means} There is none yet.", "/replays/new")
    fidelity = found.replay.report.fidelity
    parts = [("reproduced", int(fidelity.reproduced), ""), ("checked", int(fidelity.checked), "")]
    return Figure(
        "Audit replay coverage",
        _share(fidelity.reproduced, fidelity.checked),
        means,
        f"/replays/{found.replay.replay_id}",
        parts,
        bad=not fidelity.trustworthy,
    )


def _anomalies(found: Material) -> Figure:
    odd = [one for one in found.incidents if one.kind in _ANOMALIES]
    strangers = [trace for trace in found.traces if "identity.agent_unregistered" in trace.rules]
    parts = [
        ("incidents of calls", len(odd), "/metrics"),
        ("plans of unregistered agents", len(strangers), "/traces?q=rule:identity.agent_unregistered"),
    ]
    means = "Calls without a matching grant, with another tool or other arguments, and agents that nobody registered."
    days = Counter(_told(odd)) + Counter(_began(strangers))
    number = str(len(odd) + len(strangers))
    return Figure("Tool execution anomalies", number, means, "/agents", parts, days=days, sign=BLOCKED)


def _trust(found: Material) -> Figure:
    levels = Counter(trace.lowest_trust for trace in found.traces)
    parts = [(level, levels[level], address("/traces", q=f"trust:{level}")) for level in TRUST_ORDER]
    low = [trace for trace in found.traces if trace.lowest_trust in ("external", "unverified")]
    means = "Traces by the least trusted source in them; the number is the share with an external or unverified one."
    share = _share(len(low), len(found.traces))
    days = _began(low)
    return Figure(
        "Provenance trust distribution", share, means, "/traces?q=trust:external", parts, days=days, sign=ESCALATED
    )


def _replayed(found: Material) -> Figure:
    agents = {trace.agent_id for trace in found.traces}
    compared = {one.agent_id: int(one.compared) for one in found.replay.report.agents} if found.replay else {}
    parts = [
        (agent_word(agent), compared.get(agent, 0), address("/traces", q=Term("agent", agent).written()))
        for agent in sorted(agents)
    ]
    means = "Agents whose decisions the latest replay compared, each with how many."
    covered = sum(1 for agent in agents if compared.get(agent))
    return Figure("Replay coverage by agent", f"{covered} of {len(agents)}", means, "/replays", parts)


def _graph_coverage(found: Material) -> Figure:
    whole, decisions = (
        sum(graph.whole for graph in found.graphs),
        sum(graph.decisions for graph in found.graphs),
    )
    parts = [("whole", whole, ""), ("decisions", decisions, "")]
    traces = counted(len(found.graphs), "trace")
    means = f"Decisions of the latest {traces} whose graph goes from an identity and a source to an outcome."
    return Figure("Graph reconstruction coverage", _share(whole, decisions), means, "/traces", parts)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


async def _latest_replay(visitor: Asking) -> replay_pb2.Replay | None:
    request = replay_service_pb2.ListReplaysRequest(page_size=20)
    found, _ = await visitor.attempt("ReplayService/ListReplays", request, replay_service_pb2.ListReplaysResponse)
    done = [one for one in found.replays if one.state == replay_pb2.REPLAY_STATE_DONE] if found else []
    if not done:
        return None
    asked = replay_service_pb2.GetReplayRequest(replay_id=done[0].replay_id)
    whole, _ = await visitor.attempt("ReplayService/GetReplay", asked, replay_service_pb2.GetReplayResponse)
    return whole.replay if whole else None


async def _graphs(
    visitor: Asking, traces: Sequence[event_pb2.TraceSummary]
) -> Sequence[investigation_service_pb2.GetExecutionGraphResponse]:
    found = []
    for trace in traces[:MOST_GRAPHS]:
        request = investigation_service_pb2.GetExecutionGraphRequest(trace_id=trace.trace_id, alone=True)
        graph, _ = await visitor.attempt(
            "InvestigationService/GetExecutionGraph", request, investigation_service_pb2.GetExecutionGraphResponse
        )
        found += [graph] if graph else []
    return found


def last_day(found: Material) -> int:
    """Return the day up to which figures are drawn: that of the newest record, by its number since 1970."""
    days = [trace.started_at.seconds // _DAY for trace in found.traces]
    return max([*days, *(day for figure in figures(found) for day in figure.days or ())], default=0)


def plain(shown: Sequence[Figure], last: int) -> list[dict[str, Any]]:
    """Return the figures for programs: with the counts of each day, oldest first, and of the last two weeks."""
    found: list[dict[str, Any]] = []
    for one in shown:
        told: dict[str, Any] = {
            "name": one.name,
            "number": one.number,
            "means": one.means,
            "parts": {name: count for name, count, _ in one.parts},
        }
        if change := one.change(last):
            told["days"] = [{"day": day, "count": (one.days or {})[day]} for day in sorted(one.days or ())]
            told["week"], told["weekBefore"] = change
        found.append(told)
    return found


def _by_day(seconds: Iterable[int]) -> Mapping[int, int]:
    return Counter(at // _DAY for at in seconds)


def _began(traces: Iterable[event_pb2.TraceSummary]) -> Mapping[int, int]:
    return _by_day(trace.started_at.seconds for trace in traces)


def _told(incidents: Iterable[execution_service_pb2.Incident]) -> Mapping[int, int]:
    return _by_day(one.event.occurred_at.seconds for one in incidents)


def by_day(traces: Sequence[event_pb2.TraceSummary]) -> Mapping[int, Counter[str]]:
    """Return how many traces of each outcome began on each day, by the day's number since 1970."""
    days: dict[int, Counter[str]] = {}
    for trace in traces:
        days.setdefault(trace.started_at.seconds // 86_400, Counter())[trace.outcome] += 1
    return days
