"""The execution graph of traces: how instruction sources became a plan, what decided it, and what came of it.

Built from what the log holds and from nothing else: decisions with their documents, and the events beside them. A node
is there because something recorded says so; what a whole graph would have and this one cannot show stands in ``gaps``.
Same records, same graph: nodes and edges stand in the order of the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue


class NodeKind(StrEnum):
    """What a node stands for."""

    IDENTITY = "identity"
    SOURCE = "source"
    PLAN = "plan"
    STEP = "step"
    CAPABILITY = "capability"
    RULE = "rule"
    BUDGET = "budget"
    APPROVAL = "approval"
    GRANT = "grant"
    EXECUTION = "execution"
    OUTCOME = "outcome"


class EdgeKind(StrEnum):
    """How one node led to another; an edge points from cause to effect."""

    PROPOSED = "proposed"
    DELEGATED = "delegated"
    INFLUENCED = "influenced"
    GROUNDED_IN = "grounded_in"
    PART_OF = "part_of"
    DEPENDS_ON = "depends_on"
    GRANTED_BY = "granted_by"
    DECIDED_BY = "decided_by"
    CHARGED_TO = "charged_to"
    ASKED_FOR = "asked_for"
    APPROVED_BY = "approved_by"
    CONCLUDED = "concluded"
    AUTHORISED = "authorised"
    EXECUTED_AS = "executed_as"


# A decision whose graph has all of these can be read from instruction to result.
_WHOLE = (NodeKind.IDENTITY, NodeKind.SOURCE, NodeKind.PLAN, NodeKind.STEP, NodeKind.OUTCOME)
# Texts that were screened propose no call.
_WHOLE_OF_TEXTS = (NodeKind.IDENTITY, NodeKind.SOURCE, NodeKind.OUTCOME)


@dataclass(frozen=True, slots=True)
class Node:
    """One node. ``event_id`` is the event that tells of it, empty where a document does; ``facts`` are its own."""

    id: str
    kind: NodeKind
    label: str
    trace_id: str
    event_id: str
    facts: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge, from cause to effect; ``pointers`` are the arguments that it is about."""

    source: str
    target: str
    kind: EdgeKind
    pointers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutionGraph:
    """Nodes and edges. ``gaps`` say what could not be rebuilt; ``whole`` and ``decisions`` are counted for coverage."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    gaps: tuple[str, ...]
    decisions: int
    whole: int


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision as the log holds it: the details of its outcome event, that event's id, and its document, parsed."""

    event_id: str
    details: Mapping[str, Any]
    document: Mapping[str, Any]

    @property
    def about_texts(self) -> bool:
        """Say whether it is about texts that were screened, which are no plan."""
        return self.document.get("kind") == "screen"


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event that is no part of a decision, parsed."""

    id: str
    type: str
    trace_id: str
    decision_id: str
    details: Mapping[str, Any]


@dataclass(slots=True)
class _Builder:
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str, EdgeKind], Edge] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    # Of what kinds the nodes are that came since this was emptied.
    added: set[NodeKind] = field(default_factory=set)

    def node(self, node: Node) -> str:
        if node.id not in self.nodes:
            self.nodes[node.id] = node
            self.added.add(node.kind)
        return node.id

    def edge(self, source: str, target: str, kind: EdgeKind, pointers: Iterable[str] = ()) -> None:
        known = self.edges.get((source, target, kind))
        joined = tuple(dict.fromkeys((*(known.pointers if known else ()), *pointers)))
        self.edges[source, target, kind] = Edge(source, target, kind, joined)


def execution_graph(decisions: Sequence[RecordedDecision], events: Sequence[RecordedEvent]) -> ExecutionGraph:
    """Return the graph of ``decisions`` and of the ``events`` beside them, both in log order."""
    build = _Builder()
    whole = 0
    for decision in decisions:
        build.added.clear()
        _add_decision(build, decision)
        kinds = build.added | {NodeKind.IDENTITY}
        wanted = _WHOLE_OF_TEXTS if decision.about_texts else _WHOLE
        missing = [kind.value for kind in wanted if kind not in kinds]
        build.gaps += [f"decision {decision.details['decision_id']} has no {kind}" for kind in missing]
        if decision.document.get("erased"):
            build.gaps.append(f"what decision {decision.details['decision_id']} was made on was erased")
            missing.append(NodeKind.SOURCE.value)
        whole += not missing
    for event in events:
        _add_event(build, event)
    # An approval that is used was asked for by an earlier decision, so its edge may come before its node.
    edges = [edge for edge in build.edges.values() if edge.source in build.nodes and edge.target in build.nodes]
    return ExecutionGraph(tuple(build.nodes.values()), tuple(edges), tuple(build.gaps), len(decisions), whole)


def _add_decision(build: _Builder, decision: RecordedDecision) -> None:
    details, document = decision.details, decision.document
    own = _Own(build, decision)
    agent = own.shared(
        NodeKind.IDENTITY, details["principal"]["id"], authenticated_by=details["principal"]["authenticated_by"]
    )
    _add_delegation(build, own, agent)
    outcome = own.node(
        NodeKind.OUTCOME,
        "",
        label=details["outcome"],
        mode=details["mode"],
        bundle_revision=details["bundle_revision"],
        explanation=details["explanation"],
    )
    sources = _add_sources(own)
    if decision.about_texts:
        for source in sources:
            build.edge(agent, source, EdgeKind.PROPOSED)
            build.edge(source, outcome, EdgeKind.CONCLUDED)
    else:
        plan = own.node(NodeKind.PLAN, "", label=document["plan"]["intent"] or "plan", plan_hash=details["plan_hash"])
        build.edge(agent, plan, EdgeKind.PROPOSED)
        build.edge(plan, outcome, EdgeKind.CONCLUDED)
        _add_steps(build, own, plan)
    _add_findings(build, own, outcome)
    for charge in details.get("charges", ()):
        name = f"{charge['subject']}:{charge['id']}/{charge['metric']}/{charge['window']}"
        budget = own.shared(NodeKind.BUDGET, name, limit=charge["limit"])
        build.edge(budget, outcome, EdgeKind.CHARGED_TO)
    if details.get("approved_by"):
        build.edge(f"{NodeKind.APPROVAL}:{details['approved_by']}", outcome, EdgeKind.APPROVED_BY)


@dataclass(frozen=True, slots=True)
class _Own:
    """Names and makes the nodes of one decision."""

    build: _Builder
    decision: RecordedDecision

    def id(self, kind: NodeKind, name: str) -> str:
        return f"{kind}:{self.decision.details['decision_id']}" + (f"/{name}" if name else "")

    def node(self, kind: NodeKind, name: str, *, label: str, **facts: JsonValue) -> str:
        details = self.decision.details
        return self.build.node(
            Node(self.id(kind, name), kind, label, str(details["trace_id"]), self.decision.event_id, facts)
        )

    def shared(self, kind: NodeKind, name: str, **facts: JsonValue) -> str:
        """Make a node that other decisions have as well."""
        trace_id = str(self.decision.details["trace_id"])
        return self.build.node(Node(f"{kind}:{name}", kind, name, trace_id, self.decision.event_id, facts))


def _add_delegation(build: _Builder, own: _Own, agent: str) -> None:
    chain = [own.shared(NodeKind.IDENTITY, link["agent_id"]) for link in own.decision.details["delegation"]]
    for above, below in zip(chain, [*chain[1:], agent], strict=False):
        build.edge(above, below, EdgeKind.DELEGATED)


def _add_sources(own: _Own) -> list[str]:
    return [
        own.node(
            NodeKind.SOURCE,
            source["id"],
            label=source["name"] or source["origin_uri"] or source["id"],
            source_kind=source["kind"],
            trust=source["trust"],
            verified=source["verified"],
            digest=source["digest"],
            origin_uri=source["origin_uri"],
        )
        for source in own.decision.details["sources"]
    ]


def _add_steps(build: _Builder, own: _Own, plan: str) -> None:
    decided = {step["id"]: step for step in own.decision.details["steps"]}
    for step in own.decision.document["plan"]["steps"]:
        outcome = decided.get(step["id"], {})
        node = own.node(NodeKind.STEP, step["id"], label=step["tool"], outcome=outcome.get("outcome", ""))
        build.edge(plan, node, EdgeKind.PART_OF)
        for earlier in step["depends_on"]:
            build.edge(own.id(NodeKind.STEP, earlier), node, EdgeKind.DEPENDS_ON)
        for source in step["influenced_by"]:
            build.edge(own.id(NodeKind.SOURCE, source), node, EdgeKind.INFLUENCED)
        for source, pointer in _grounded(step):
            build.edge(own.id(NodeKind.SOURCE, source), node, EdgeKind.GROUNDED_IN, [pointer])
        if outcome.get("granted_by"):
            granted = own.shared(NodeKind.CAPABILITY, outcome["capability"], granted_by=outcome["granted_by"])
            build.edge(granted, node, EdgeKind.GRANTED_BY)


def _grounded(step: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for value in step["values"]:
        for occurrence in value["found"]:
            yield occurrence["source"], value["pointer"]


def _add_findings(build: _Builder, own: _Own, outcome: str) -> None:
    about = NodeKind.SOURCE if own.decision.about_texts else NodeKind.STEP
    for finding in own.decision.details["findings"]:
        rule = own.shared(NodeKind.RULE, finding["rule"], title=finding["title"], severity=finding["severity"])
        build.edge(rule, outcome, EdgeKind.DECIDED_BY, [fact["pointer"] for fact in finding["facts"]])
        if finding["step"]:
            build.edge(own.id(about, finding["step"]), rule, EdgeKind.DECIDED_BY)


def _add_event(build: _Builder, event: RecordedEvent) -> None:
    subject = event.type.partition(".")[0]
    if event.type == "grant.issued":
        for claims in event.details["grants"]:
            _add_grant(build, event, claims)
    elif subject == "approval" and (name := event.details.get("approval_id")):
        approval = build.node(_event_node(event, NodeKind.APPROVAL, str(name)))
        if event.type == "approval.requested":
            build.edge(f"{NodeKind.OUTCOME}:{event.decision_id}", approval, EdgeKind.ASKED_FOR)
    elif subject in {"execution", "incident"}:
        _add_execution(build, event)


def _add_grant(build: _Builder, event: RecordedEvent, claims: Mapping[str, Any]) -> None:
    name = f"{NodeKind.GRANT}:{claims['jti']}"
    facts = {key: claims[key] for key in ("tool", "arguments_sha256", "exp")}
    grant = build.node(Node(name, NodeKind.GRANT, claims["tool"], event.trace_id, event.id, facts))
    build.edge(f"{NodeKind.OUTCOME}:{event.decision_id}", grant, EdgeKind.AUTHORISED)
    build.edge(f"{NodeKind.STEP}:{event.decision_id}/{claims['step_id']}", grant, EdgeKind.AUTHORISED)


def _add_execution(build: _Builder, event: RecordedEvent) -> None:
    ran = build.node(_event_node(event, NodeKind.EXECUTION, event.id))
    grant = f"{NodeKind.GRANT}:{event.details.get('grant', '')}"
    if grant in build.nodes:
        build.edge(grant, ran, EdgeKind.EXECUTED_AS)
    else:
        build.gaps.append(f"{event.type} {event.id} belongs to no grant")
        build.edge(f"{NodeKind.OUTCOME}:{event.decision_id}", ran, EdgeKind.EXECUTED_AS)


def _event_node(event: RecordedEvent, kind: NodeKind, name: str) -> Node:
    return Node(f"{kind}:{name}", kind, event.type, event.trace_id, event.id, event.details)
