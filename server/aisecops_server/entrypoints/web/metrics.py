"""The nine figures of governance, counted from what the API answers; each names the records that it counts.

A figure is over the latest traces, at most ``MOST_TRACES``; a page says over how many. Nothing is kept between visits,
so there is no second truth beside the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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

from aisecops_server.domain.incident import IncidentKind
from aisecops_server.domain.words import TRUST_ORDER, bare, counted
from aisecops_server.entrypoints.web.rendering import address, agent_word
from aisecops_server.entrypoints.web.visitor import Visitor

MOST_TRACES = 500
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


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its number, what it means, how it splits up, and where the records behind it are."""

    name: str
    number: str
    means: str
    link: str
    parts: Sequence[tuple[str, int, str]] = ()
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """What was read for the figures; ``None`` where the visitor's roles do not include it."""

    traces: Sequence[event_pb2.TraceSummary] = ()
    approvals: Sequence[approval_pb2.Approval] = ()
    incidents: Sequence[execution_service_pb2.Incident] = ()
    status: bundle_service_pb2.GetStatusResponse | None = None
    replay: replay_pb2.Replay | None = None
    graphs: Sequence[investigation_service_pb2.GetExecutionGraphResponse] = field(default_factory=tuple)


async def read_material(visitor: Visitor) -> Material:
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
    parts = [(rule, count, address("/traces", q=f"outcome:blocked rule:{rule}")) for rule, count in most]
    means = "Traces in which a plan was denied, and the rules that fired in them."
    return Figure("Blocked execution plans", str(len(blocked)), means, "/traces?q=outcome:blocked", parts)


def _approvals(found: Material) -> Figure:
    states = Counter(bare(approval_pb2.ApprovalState.Name(one.state)).lower() for one in found.approvals)
    parts = [(state, count, address("/approvals", state=state)) for state, count in states.most_common()]
    means = "Plans that people were asked about, by what became of the request."
    return Figure("Approval-required actions", str(len(found.approvals)), means, "/approvals?state=all", parts)


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
    return Figure("Runtime incidents", str(number), means, parts[0][2] if parts else "/traces", parts, bad=number > 0)


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
    return Figure("Tool execution anomalies", str(len(odd) + len(strangers)), means, "/agents", parts)


def _trust(found: Material) -> Figure:
    levels = Counter(trace.lowest_trust for trace in found.traces)
    parts = [(level, levels[level], address("/traces", q=f"trust:{level}")) for level in TRUST_ORDER]
    low = levels["external"] + levels["unverified"]
    means = "Traces by the least trusted source in them; the number is the share with an external or unverified one."
    share = _share(low, len(found.traces))
    return Figure("Provenance trust distribution", share, means, "/traces?q=trust:external", parts)


def _replayed(found: Material) -> Figure:
    agents = {trace.agent_id for trace in found.traces}
    compared = {one.agent_id: int(one.compared) for one in found.replay.report.agents} if found.replay else {}
    parts = [
        (agent_word(agent), compared.get(agent, 0), address("/traces", q=f"agent:{agent}")) for agent in sorted(agents)
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


async def _latest_replay(visitor: Visitor) -> replay_pb2.Replay | None:
    request = replay_service_pb2.ListReplaysRequest(page_size=20)
    found, _ = await visitor.attempt("ReplayService/ListReplays", request, replay_service_pb2.ListReplaysResponse)
    done = [one for one in found.replays if one.state == replay_pb2.REPLAY_STATE_DONE] if found else []
    if not done:
        return None
    asked = replay_service_pb2.GetReplayRequest(replay_id=done[0].replay_id)
    whole, _ = await visitor.attempt("ReplayService/GetReplay", asked, replay_service_pb2.GetReplayResponse)
    return whole.replay if whole else None


async def _graphs(
    visitor: Visitor, traces: Sequence[event_pb2.TraceSummary]
) -> Sequence[investigation_service_pb2.GetExecutionGraphResponse]:
    found = []
    for trace in traces[:MOST_GRAPHS]:
        request = investigation_service_pb2.GetExecutionGraphRequest(trace_id=trace.trace_id, alone=True)
        graph, _ = await visitor.attempt(
            "InvestigationService/GetExecutionGraph", request, investigation_service_pb2.GetExecutionGraphResponse
        )
        found += [graph] if graph else []
    return found


def by_day(traces: Sequence[event_pb2.TraceSummary]) -> Mapping[int, Counter[str]]:
    """Return how many traces of each outcome began on each day, by the day's number since 1970."""
    days: dict[int, Counter[str]] = {}
    for trace in traces:
        days.setdefault(trace.started_at.seconds // 86_400, Counter())[trace.outcome] += 1
    return days
