"""Replays: a new question, the list, and the review of what flips, what lets most through first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops.v1 import replay_pb2
from aisecops.v1 import replay_service_pb2 as api
from aisecops.v1.decision_pb2 import Outcome
from google.protobuf.json_format import MessageToDict
from starlette.responses import Response

from aisecops_server.domain.accepted_flips import Flip
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.flip_reports import accepted_entries, junit
from aisecops_server.domain.impact import flips_of
from aisecops_server.domain.trace_query import read_query
from aisecops_server.domain.words import bare, outcome_sign
from aisecops_server.entrypoints.web.rendering import address
from aisecops_server.entrypoints.web.replay_report import markdown
from aisecops_server.entrypoints.web.trace_list import filter_of
from aisecops_server.entrypoints.web.visitor import Away, Page, Visitor

PAGE = 50
_MAX_GROUP = 200
BUCKETS: Mapping[str, str] = {
    "looser": "Looser",
    "stricter": "Stricter",
    "reasons": "Reasons only",
    "obligations": "Obligations",
    "error": "Error",
    "unknown": "Not replayable",
}
_CLASS_OF = {
    "reasons": replay_pb2.VERDICT_CLASS_REASON_ONLY,
    "obligations": replay_pb2.VERDICT_CLASS_OBLIGATION_CHANGE,
    "error": replay_pb2.VERDICT_CLASS_ERROR,
    "unknown": replay_pb2.VERDICT_CLASS_INDETERMINATE,
}
_RANK = {Outcome.OUTCOME_ALLOW: 0, Outcome.OUTCOME_REQUIRE_APPROVAL: 1, Outcome.OUTCOME_DENY: 2}


async def replay_list(visitor: Visitor) -> Page:
    """Show replays, newest first."""
    request = api.ListReplaysRequest(page_size=PAGE, page_token=visitor.query("before"))
    found = await visitor.ask("ReplayService/ListReplays", request, api.ListReplaysResponse)
    more = address("/replays", before=found.next_page_token) if found.next_page_token else ""
    view = {"replays": found.replays, "more": more, "state": _state}
    return Page("replays.html", "Replays", view, {"page": found}, "Replays")


async def new_replay(visitor: Visitor) -> Page:
    """Show the form of a new question."""
    view = {"trace": visitor.query("trace"), "q": visitor.query("q"), "candidate": visitor.query("to")}
    return Page("replay_new.html", "New replay", view, view, "Replays")


async def start_replay(visitor: Visitor) -> Away:
    """Start a replay, or find the one that answers the same question."""
    request = api.StartReplayRequest(
        selection=_selection(visitor.form),
        candidate=_policy(visitor.form.get("candidate", ""), visitor.form.get("changes", "")),
    )
    if visitor.form.get("baseline", "").strip():
        request.baseline.CopyFrom(_policy(visitor.form["baseline"], ""))
    found = await visitor.ask("ReplayService/StartReplay", request, api.StartReplayResponse)
    return Away(f"/replays/{found.replay.replay_id}")


async def cancel_replay(visitor: Visitor) -> Away:
    """Stop a replay; what it found is kept."""
    request = api.CancelReplayRequest(replay_id=visitor.path("replay"))
    await visitor.ask("ReplayService/CancelReplay", request, api.CancelReplayResponse)
    return Away(f"/replays/{request.replay_id}")


async def replay_page(visitor: Visitor) -> Page:
    """Show a replay: how far it is, or what it found, group by group."""
    replay = await _replay(visitor)
    report = replay.report if replay.HasField("report") else replay.early
    groups = grouped(report)
    chosen = min(visitor.number("group"), max(0, len(groups) - 1))
    results = await _results(visitor, replay.replay_id, groups[chosen]) if groups else ()
    at = next((one for one in results if one.decision_id == visitor.query("change")), results[0] if results else None)
    why, why_not = await _why(visitor, replay.replay_id, at)
    path = f"/replays/{replay.replay_id}"
    view = {
        "replay": replay,
        "report": report,
        "state": _state(replay),
        "running": replay.state == replay_pb2.REPLAY_STATE_RUNNING,
        "buckets": buckets(report),
        "groups": [(at, group, address(path, group=at)) for at, group in enumerate(groups)],
        "chosen": chosen,
        "results": [(one, address(path, group=chosen, change=one.decision_id)) for one in results],
        "change": at,
        "why": why,
        "why_not": why_not,
        "outcome_of": lambda value: outcome_sign(Outcome.Name(value)),
        "class_word": lambda value: bare(replay_pb2.VerdictClass.Name(value))[14:].lower().replace("_", " "),
    }
    return Page("replay.html", "Replay", view, {"replay": replay, "change": why}, "Replays")


async def replay_markdown(visitor: Visitor) -> Response:
    """Give the report as Markdown, for a comment on a pull request."""
    replay = await _replay(visitor)
    return _download(markdown(replay), f"replay-{replay.replay_id[:12]}.md", "text/markdown")


async def replay_junit(visitor: Visitor) -> Response:
    """Give the flips as a JUnit suite, for continuous integration."""
    replay = await _replay(visitor)
    suite = junit(await _flips(visitor), name=f"replay {replay.replay_id}", compared=int(replay.report.compared))
    return _download(suite, f"replay-{replay.replay_id[:12]}.junit.xml", "application/xml")


async def replay_entries(visitor: Visitor) -> Response:
    """Give entries for ``accepted-flips.yaml``, for a person to complete."""
    replay = await _replay(visitor)
    entries = accepted_entries(await _flips(visitor), about=f"replay {replay.replay_id}")
    return _download(entries, "accepted-flips.yaml", "application/yaml")


def grouped(report: replay_pb2.ReplayReport) -> list[replay_pb2.ReplayGroup]:
    """Return the groups, those that let more through first, the largest of them first."""
    return sorted(report.groups, key=lambda group: (_order(group), -group.count))


def _order(group: replay_pb2.ReplayGroup) -> tuple[int, int]:
    flip = group.verdict_class == replay_pb2.VERDICT_CLASS_OUTCOME_FLIP
    way = _RANK.get(group.after, 3) - _RANK.get(group.before, 3) if flip else 9
    return (0 if way < 0 else 1 if flip else 2, way)


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many decisions went one way; every decision is in exactly one."""

    word: str
    count: int
    tone: str


def buckets(report: replay_pb2.ReplayReport) -> Sequence[Bucket]:
    """Return every decision counted once, looser first."""
    counts = {one.verdict_class: one.count for one in report.classes}
    tones = {"looser": "s-blocked", "stricter": "s-escalated"}
    numbers = {"looser": report.looser, "stricter": report.stricter}
    numbers |= {name: counts.get(value, 0) for name, value in _CLASS_OF.items()}
    found = [Bucket(word, int(numbers[name]), tones.get(name, "dim")) for name, word in BUCKETS.items()]
    same = int(counts.get(replay_pb2.VERDICT_CLASS_SAME, 0))
    return (*found[:2], Bucket("Unchanged", same, "s-allowed"), *found[2:])


async def _replay(visitor: Visitor) -> replay_pb2.Replay:
    request = api.GetReplayRequest(replay_id=visitor.path("replay"))
    return (await visitor.ask("ReplayService/GetReplay", request, api.GetReplayResponse)).replay


async def _results(
    visitor: Visitor, replay_id: str, group: replay_pb2.ReplayGroup
) -> Sequence[replay_pb2.ReplayResult]:
    """Return the decisions of a group: what has its class, its outcomes and its rules."""
    rule = next(iter([*group.fires_now, *group.no_longer]), "")
    narrow = api.ReplayResultFilter(verdict_class=group.verdict_class, rule=rule)
    request = api.ListReplayResultsRequest(replay_id=replay_id, filter=narrow, page_size=_MAX_GROUP)
    found = await visitor.ask("ReplayService/ListReplayResults", request, api.ListReplayResultsResponse)
    return [one for one in found.results if _is_of(one, group)]


async def _flips(visitor: Visitor) -> list[Flip]:
    """Return every outcome that flips, page by page."""
    narrow = api.ReplayResultFilter(verdict_class=replay_pb2.VERDICT_CLASS_OUTCOME_FLIP)
    request = api.ListReplayResultsRequest(replay_id=visitor.path("replay"), filter=narrow, page_size=_MAX_GROUP)
    found: list[Flip] = []
    while True:
        page = await visitor.ask("ReplayService/ListReplayResults", request, api.ListReplayResultsResponse)
        found += flips_of([MessageToDict(one, always_print_fields_with_no_presence=True) for one in page.results])
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def _download(text: str, name: str, media_type: str) -> Response:
    return Response(text, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _is_of(one: replay_pb2.ReplayResult, group: replay_pb2.ReplayGroup) -> bool:
    return (
        (one.before, one.after) == (group.before, group.after)
        and {firing.rule for firing in one.fires_now} == set(group.fires_now)
        and {firing.rule for firing in one.no_longer} == set(group.no_longer)
    )


async def _why(
    visitor: Visitor, replay_id: str, change: replay_pb2.ReplayResult | None
) -> tuple[replay_pb2.ChangeExplanation | None, str]:
    if change is None:
        return None, ""
    request = api.ExplainChangeRequest(replay_id=replay_id, decision_id=change.decision_id)
    found, why_not = await visitor.attempt("ReplayService/ExplainChange", request, api.ExplainChangeResponse)
    return (found.changes[0], "") if found and found.changes else (None, why_not or "nothing is known of why")


def _selection(form: Mapping[str, str]) -> replay_pb2.ReplaySelection:
    narrow = filter_of(read_query(form.get("q", "")))
    found = replay_pb2.ReplaySelection(
        agent_id=narrow.agent_id,
        outcome=narrow.outcome,
        tool=narrow.tool,
        rule=narrow.rule,
        trust=narrow.trust,
        revision=narrow.revision,
        mode=narrow.mode,
        trace_ids=[trace] if (trace := form.get("trace", "").strip()) else [],
    )
    # `from` is a word of Python, so the field is reached by name.
    for stamp, given in ((getattr(found, "from"), getattr(narrow, "from")), (found.to, narrow.to)):
        if given.seconds:
            stamp.CopyFrom(given)
    return found


def _policy(revision: str, changes: str) -> replay_pb2.ReplayPolicy:
    changed = [line.strip() for line in changes.splitlines() if line.strip()]
    if not revision.strip() and not changed:
        raise InvalidRequestError(
            "there is nothing to replay against",
            hint="Name a commit, branch or tag, or a changed value",
            field="candidate",
        )
    return replay_pb2.ReplayPolicy(revision=revision.strip(), changes=changed)


def _state(replay: replay_pb2.Replay) -> str:
    return replay_pb2.ReplayState.Name(replay.state).removeprefix("REPLAY_STATE_").lower()
