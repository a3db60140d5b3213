"""Between the API's messages of replay and what the use cases know: questions in, replays and results out.

A report is shown from the JSON that was stored, whether it was just made or read back, so that both are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from aisecops.v1 import decision_pb2, replay_pb2
from aisecops.v1 import replay_service_pb2 as api
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.identifiers import is_trace_id
from aisecops_server.domain.log.record import TraceFilter
from aisecops_server.domain.replays.replay import Direction, ReplayRecord, ReplayState, Selection, VerdictClass
from aisecops_server.domain.traces.trace_query import of_decisions, read_query
from aisecops_server.entrypoints.grpc.audit_service import both, filter_text, filter_time
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.usecases.replays.bisect_decisions import Bisected
from aisecops_server.usecases.replays.compare_revisions import Matrix
from aisecops_server.usecases.replays.group_flips import FlipGroups
from aisecops_server.usecases.replays.judge_decisions import Thoroughness
from aisecops_server.usecases.replays.read_replays import ResultFilter
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from aisecops_server.usecases.replays.run_replays import ReplayCommand

MOST_TRACES = 1000
_CHARACTERS = 256
_TEXT_CHARACTERS = 256
_CLASSES = {replay_pb2.VerdictClass.Value(f"VERDICT_CLASS_{kind.name}"): kind.value for kind in VerdictClass}
_DIRECTIONS = {replay_pb2.Direction.Value(f"DIRECTION_{kind.name}"): kind.value for kind in Direction}
_M = TypeVar("_M", bound=Message)
_TEXTS = ("agent_id", "outcome", "tool", "rule", "trust", "revision", "mode")
_STATES = {state: replay_pb2.ReplayState.Value(f"REPLAY_STATE_{state.name}") for state in ReplayState}
# Fields of reports that are words in what is stored, and enums on the wire.
_ENUMS = {"verdict_class": "VERDICT_CLASS_", "before": "OUTCOME_", "after": "OUTCOME_", "direction": "DIRECTION_"}
_SUMMED = ("sampled", "selected", "compared", "classes", "looser", "stricter", "risky", "transitions")


def selection_of(asked: replay_pb2.ReplaySelection) -> Selection:
    """Return which decisions are meant.

    Raises:
        InvalidRequestError: a field does not fit.
    """
    if len(asked.trace_ids) > MOST_TRACES:
        raise InvalidRequestError(f"selection.trace_ids: more than {MOST_TRACES}", field="selection.trace_ids")
    require_trace_ids(asked.trace_ids, "selection.trace_ids")
    texts: dict[str, Any] = {name: filter_text(name, getattr(asked, name), place="selection") for name in _TEXTS}
    # `from` is a keyword of the language, so the field has no attribute.
    begins: Timestamp = getattr(asked, "from")
    typed = TraceFilter(
        **texts, from_ns=filter_time(begins, "selection.from"), to_ns=filter_time(asked.to, "selection.to")
    )
    query = of_decisions(read_query(asked.query, place="selection.query"))
    narrow = both(typed, query.wanted.narrow, place="selection")
    return Selection(
        **{name: getattr(narrow, name) for name in _TEXTS},
        from_micros=narrow.from_ns // 1000,
        to_micros=-(-narrow.to_ns // 1000),
        trace_ids=tuple(sorted(set(asked.trace_ids))),
        query=query.beyond.written(),
    )


def require_trace_ids(trace_ids: Iterable[str], field: str) -> None:
    """Refuse what is no trace's id.

    Raises:
        InvalidRequestError: one is none.
    """
    for trace_id in trace_ids:
        if not is_trace_id(trace_id):
            raise InvalidRequestError(f"{field}: not 32 lower-case hexadecimal digits", field=field)


def require_name(name: str, field: str) -> None:
    """Refuse the name of a revision that is too long to be one.

    Raises:
        InvalidRequestError: it is.
    """
    if len(name) > _CHARACTERS:
        raise InvalidRequestError(f"{field}: too long", field=field)


def policy_of(asked: replay_pb2.ReplayPolicy, name: str) -> WantedPolicy:
    """Return which policy is meant; ``name`` is that of the field.

    Raises:
        InvalidRequestError: a field does not fit.
    """
    for field in ("revision", "engine"):
        require_name(getattr(asked, field), f"{name}.{field}")
    files = {file.path: file.content for file in asked.files.files}
    if len(files) != len(asked.files.files):
        raise InvalidRequestError(f"{name}.files: a path stands there twice", field=f"{name}.files")
    return WantedPolicy(asked.revision, files, tuple(asked.changes), asked.engine)


def command_of(asked: api.StartReplayRequest, *, asked_by: str) -> ReplayCommand:
    """Return what is to be replayed.

    Raises:
        InvalidRequestError: a field does not fit.
    """
    return ReplayCommand(
        selection=selection_of(asked.selection),
        candidate=policy_of(asked.candidate, "candidate"),
        baseline=policy_of(asked.baseline, "baseline") if asked.HasField("baseline") else None,
        asked_by=asked_by,
        thoroughness=Thoroughness.EVERYTHING if asked.everything else Thoroughness.AS_NEEDED,
    )


def result_filter_of(asked: api.ReplayResultFilter) -> ResultFilter:
    """Return which results are meant.

    Raises:
        InvalidRequestError: a field does not fit.
    """
    if asked.verdict_class and asked.verdict_class not in _CLASSES:
        raise InvalidRequestError("filter.verdict_class: there is no such class", field="filter.verdict_class")
    if asked.direction and asked.direction not in _DIRECTIONS:
        raise InvalidRequestError("filter.direction: there is no such direction", field="filter.direction")
    for name in ("rule", "agent_id", "tool", "decision_id", "group_id"):
        if len(getattr(asked, name)) > _TEXT_CHARACTERS:
            raise InvalidRequestError(f"filter.{name}: too long", field=f"filter.{name}")
    return ResultFilter(
        verdict_class=_CLASSES.get(asked.verdict_class, ""),
        direction=_DIRECTIONS.get(asked.direction, ""),
        rule=asked.rule,
        agent_id=asked.agent_id,
        tool=asked.tool,
        decision_id=asked.decision_id,
        group_id=asked.group_id,
    )


def replay_message(record: ReplayRecord, *, whole: bool = True) -> replay_pb2.Replay:
    """Return a replay; without ``whole`` its reports are only counts."""
    question: Mapping[str, Any] = record.question
    made = replay_pb2.Replay(
        replay_id=record.id,
        state=_STATES[record.state],
        selection=_selection(question["selection"]),
        candidate=_side(question["candidate"]),
        log_size=question["log_size"],
        asked_by=record.asked_by,
        started_at=timestamp(record.started_at_ns),
        progress=replay_pb2.ReplayProgress(**{**asdict(record.progress), "phase": record.progress.phase.value}),
        reason=record.reason,
        problem=record.problem,
    )
    if question["baseline"]:
        made.baseline.CopyFrom(_side(question["baseline"]))
    if record.finished_at_ns:
        made.finished_at.CopyFrom(timestamp(record.finished_at_ns))
    for field, report in ((made.early, record.early), (made.report, record.report)):
        if report is not None:
            field.CopyFrom(report_message(report if whole else _sums(report)))
    return made


def report_message(report: Mapping[str, Any]) -> replay_pb2.ReplayReport:
    """Return a report as it was stored."""
    return _parsed(report, replay_pb2.ReplayReport())


def result_message(result: Mapping[str, Any]) -> replay_pb2.ReplayResult:
    """Return what became of one decision."""
    fields = dict(result)
    decided_at = timestamp(fields.pop("decided_at_micros") * 1000)
    made = _parsed(fields, replay_pb2.ReplayResult())
    made.decided_at.CopyFrom(decided_at)
    return made


def groups_message(found: FlipGroups) -> api.ListFlipGroupsResponse:
    """Return the groups of a replay."""
    made = api.ListFlipGroupsResponse(left_out=found.left_out, whole=found.whole)
    for group in found.groups:
        key = group.key
        fields = {
            "verdict_class": key.verdict_class,
            "before": key.before,
            "after": key.after,
            "direction": key.direction,
            "fires_now": list(key.fires_now),
            "no_longer": list(key.no_longer),
            "parts": list(key.parts),
            "reason": key.reason,
        }
        message = _parsed(fields, made.groups.add(group_id=key.id, count=group.count, examples=group.examples))
        for clause in key.clauses:
            # Its sides are called as outcomes are, and are none.
            ParseDict(dict(clause), message.clauses.add())
    return made


def explain_change_message(told: Mapping[str, Any]) -> api.ExplainChangeResponse:
    """Return why decisions are made differently."""
    made = api.ExplainChangeResponse(replay_id=told["replay_id"], same=told["same"], left_out=told["left_out"])
    for change in told["changes"]:
        fields = {name: value for name, value in change.items() if name != "result"}
        explained = made.changes.add()
        if "smallest" in fields:
            fields["smallest"] = _smallest(fields["smallest"])
        ParseDict(fields, explained)
        explained.result.CopyFrom(result_message(change["result"]))
    return made


def matrix_message(matrix: Matrix) -> api.CompareRevisionsResponse:
    """Return how far a comparison of revisions is; the matrix itself only when it is whole."""
    made = api.CompareRevisionsResponse(done=len(matrix.columns), total=matrix.total)
    if not matrix.is_whole:
        return made
    told: Mapping[str, Any] = matrix.as_json()
    made.matrix.SetInParent()
    for revision in told["revisions"]:
        made.matrix.revisions.add(**revision)
    for row in told["rows"]:
        texts = {name: row[name] for name in ("decision_id", "trace_id", "bundle_revision")}
        recorded = decision_pb2.Outcome.Value(f"OUTCOME_{_word('after', row['recorded'])}")
        made.matrix.rows.add(**texts, recorded=recorded, cells=[result_message(cell) for cell in row["cells"]])
    return made


def bisection_message(step: Bisected) -> api.BisectDecisionsResponse:
    """Return how far a bisection is, and what it found when it is over."""
    made = api.BisectDecisionsResponse(asked=step.asked, expected=step.expected)
    if step.found is not None:
        told: Mapping[str, Any] = step.found
        flips = [
            {**flip, "commit": _commit(flip["commit"]), "before": _commit(flip["before"])} for flip in told["flips"]
        ]
        skipped = [_commit(commit) for commit in told["skipped"]]
        for flip in flips:
            flip["decisions"] = [dict(_on_the_wire(entry.items())) for entry in flip["decisions"]]
        ParseDict({**told, "flips": flips, "skipped": skipped}, made.found)
    return made


def _commit(fields: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in fields.items() if name != "committed_at_seconds"}
    seconds = int(fields["committed_at_seconds"])
    return {**told, "committed_at": timestamp(seconds * 1_000_000_000).ToJsonString()}


def _smallest(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, "outcome": f"OUTCOME_{_word('after', fields['outcome'])}"}


def _selection(fields: Mapping[str, Any]) -> replay_pb2.ReplaySelection:
    texts = {name: fields[name] for name in _TEXTS}
    made = replay_pb2.ReplaySelection(**texts, trace_ids=fields["trace_ids"], query=fields.get("query", ""))
    for name, micros in (("from", fields["from_micros"]), ("to", fields["to_micros"])):
        if micros:
            getattr(made, name).CopyFrom(timestamp(micros * 1000))
    return made


def _side(fields: Mapping[str, Any]) -> replay_pb2.ReplaySide:
    return replay_pb2.ReplaySide(**fields)


def _sums(report: Mapping[str, Any]) -> dict[str, Any]:
    fidelity = {**report["fidelity"], "problems": [], "revisions": []}
    return {**{name: report[name] for name in _SUMMED}, "fidelity": fidelity}


def _parsed(fields: Mapping[str, Any], into: _M) -> _M:
    return ParseDict(dict(_on_the_wire(fields.items())), into)


def _on_the_wire(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    for name, value in items:
        if isinstance(value, Mapping):
            yield name, dict(_on_the_wire(value.items()))
        elif isinstance(value, list):
            yield name, [dict(_on_the_wire(entry.items())) if isinstance(entry, Mapping) else entry for entry in value]
        elif name in _ENUMS:
            yield name, f"{_ENUMS[name]}{_word(name, value)}"
        else:
            yield name, value


def _word(name: str, value: str) -> str:
    """Return an enum's word; an outcome that is none of ours, and none at all, are unspecified."""
    if name in ("before", "after") and f"OUTCOME_{value}" not in dict(decision_pb2.Outcome.items()):
        return "UNSPECIFIED"
    return value or "UNSPECIFIED"
