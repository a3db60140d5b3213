"""Replays: a new question, the list, and the review of what flips, what lets most through first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops.v1 import replay_pb2
from aisecops.v1 import replay_service_pb2 as api
from aisecops.v1.decision_pb2 import Outcome
from google.protobuf.json_format import MessageToDict
from starlette.responses import Response

from aisecops_server.domain.display.words import bare, outcome_sign
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.policy.accepted_flips import Flip
from aisecops_server.domain.policy.impact import flips_of
from aisecops_server.domain.replays.flip_reports import ReviewedGroup, accepted_entries, junit, reviewed_groups
from aisecops_server.domain.traces.trace_query import read_query
from aisecops_server.entrypoints.trace_terms import selection_of
from aisecops_server.entrypoints.web.addresses import address
from aisecops_server.entrypoints.web.replay_report import clause_place, clause_word, markdown
from aisecops_server.entrypoints.web.replay_review import judgement_tone, judgement_word, said_of
from aisecops_server.entrypoints.web.replay_sides import SidesView, sides_view
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


async def replay_list(visitor: Visitor) -> Page:
    """Show replays, newest first."""
    request = api.ListReplaysRequest(page_size=PAGE, page_token=visitor.query("before"))
    found = await visitor.ask("ReplayService/ListReplays", request, api.ListReplaysResponse)
    more = address("/replays", before=found.next_page_token) if found.next_page_token else ""
    view = {"replays": found.replays, "more": more, "state": _state}
    return Page("replays.html", "Replays", view, {"page": found}, "Replays", command=("replay", "list"))


async def new_replay(visitor: Visitor) -> Page:
    """Show the form of a new question."""
    view = {"trace": " ".join(visitor.several("trace")), "q": visitor.query("q"), "candidate": visitor.query("to")}
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
    groups = await _groups(visitor, replay.replay_id)
    chosen = next((one for one in groups.groups if one.group_id == visitor.query("group")), _first(groups))
    results = await _results(visitor, replay.replay_id, chosen) if chosen and groups.whole else ()
    said = await said_of(visitor, replay.replay_id, groups=len(groups.groups) + groups.left_out)
    at = next((one for one in results if one.decision_id == visitor.query("change")), results[0] if results else None)
    why, why_not = await _why(visitor, replay.replay_id, at)
    path = f"/replays/{replay.replay_id}"
    view = {
        "replay": replay,
        "report": report,
        "state": _state(replay),
        "running": replay.state == replay_pb2.REPLAY_STATE_RUNNING,
        "buckets": buckets(report),
        "groups": [(group, address(path, group=group.group_id)) for group in groups.groups],
        "left_out": groups.left_out,
        "chosen": chosen,
        "results": [(one, _place(path, chosen, one)) for one in results],
        "change": at,
        "said": said,
        "ticked": said.ticked & {one.decision_id for one in results},
        "judging": groups.whole and visitor.may("ReviewService/JudgeFlip"),
        "judgement_word": judgement_word,
        "judgement_tone": judgement_tone,
        "why": why,
        "why_not": why_not,
        "sides": _sides(visitor, replay, why),
        "outcome_of": lambda value: outcome_sign(Outcome.Name(value)),
        "clause_word": clause_word,
        "clause_place": clause_place,
        "class_word": lambda value: bare(replay_pb2.VerdictClass.Name(value))[14:].lower().replace("_", " "),
    }
    return Page(
        "replay.html",
        "Replay",
        view,
        {"replay": replay, "groups": groups, "review": said.review, "change": why},
        "Replays",
        command=("replay", "show", replay.replay_id),
    )


async def replay_markdown(visitor: Visitor) -> Response:
    """Give the report as Markdown, for a comment on a pull request."""
    replay = await _replay(visitor)
    found = await _groups(visitor, replay.replay_id)
    said = await said_of(visitor, replay.replay_id, groups=len(found.groups) + found.left_out)
    return _download(markdown(replay, found.groups, said.review), f"replay-{replay.replay_id[:12]}.md", "text/markdown")


async def replay_junit(visitor: Visitor) -> Response:
    """Give the groups as a JUnit suite, for continuous integration; only what a reviewer expects passes."""
    replay = await _replay(visitor)
    groups, left_out = await _reviewed(visitor)
    name = f"replay {replay.replay_id}"
    suite = junit(groups, name=name, compared=int(replay.report.compared), left_out=left_out)
    return _download(suite, f"replay-{replay.replay_id[:12]}.junit.xml", "application/xml")


async def replay_entries(visitor: Visitor) -> Response:
    """Give what reviewers expect as entries for ``accepted-flips.yaml``."""
    replay = await _replay(visitor)
    groups, _ = await _reviewed(visitor)
    found = [(group, await _flips(visitor, group.group_id) if group.expected else []) for group in groups]
    return _download(
        accepted_entries(found, about=f"replay {replay.replay_id}"), "accepted-flips.yaml", "application/yaml"
    )


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


async def _groups(visitor: Visitor, replay_id: str) -> api.ListFlipGroupsResponse:
    request = api.ListFlipGroupsRequest(replay_id=replay_id)
    return await visitor.ask("ReplayService/ListFlipGroups", request, api.ListFlipGroupsResponse)


def _sides(visitor: Visitor, replay: replay_pb2.Replay, why: replay_pb2.ChangeExplanation | None) -> SidesView | None:
    here = {name: visitor.query(name) for name in ("group", "change")}
    return sides_view(replay, why, here=here, opened=visitor.query("elsewhere") == "1") if why else None


def _first(groups: api.ListFlipGroupsResponse) -> replay_pb2.FlipGroup | None:
    return groups.groups[0] if groups.groups else None


def _place(path: str, group: replay_pb2.FlipGroup | None, one: replay_pb2.ReplayResult) -> str:
    return address(path, group=group.group_id if group else "", change=one.decision_id)


async def _results(visitor: Visitor, replay_id: str, group: replay_pb2.FlipGroup) -> Sequence[replay_pb2.ReplayResult]:
    """Return the first decisions of a group; the page says how many there are."""
    request = api.ListReplayResultsRequest(
        replay_id=replay_id, filter=api.ReplayResultFilter(group_id=group.group_id), page_size=_MAX_GROUP
    )
    return (await visitor.ask("ReplayService/ListReplayResults", request, api.ListReplayResultsResponse)).results


async def _reviewed(visitor: Visitor) -> tuple[Sequence[ReviewedGroup], int]:
    """Return the groups with what was said about them, and how many groups are left out."""
    replay_id = visitor.path("replay")
    found = await _groups(visitor, replay_id)
    said = await said_of(visitor, replay_id, groups=len(found.groups) + found.left_out)
    told = MessageToDict(said.review, always_print_fields_with_no_presence=True)
    groups = MessageToDict(found, always_print_fields_with_no_presence=True)
    return reviewed_groups(groups["groups"], told["verdicts"]), found.left_out


async def _flips(visitor: Visitor, group_id: str) -> list[Flip]:
    """Return every outcome of a group that flips, page by page."""
    narrow = api.ReplayResultFilter(group_id=group_id)
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


async def _why(
    visitor: Visitor, replay_id: str, change: replay_pb2.ReplayResult | None
) -> tuple[replay_pb2.ChangeExplanation | None, str]:
    if change is None:
        return None, ""
    request = api.ExplainChangeRequest(replay_id=replay_id, decision_id=change.decision_id)
    found, why_not = await visitor.attempt("ReplayService/ExplainChange", request, api.ExplainChangeResponse)
    return (found.changes[0], "") if found and found.changes else (None, why_not or "nothing is known of why")


def _selection(form: Mapping[str, str]) -> replay_pb2.ReplaySelection:
    traces = form.get("trace", "").replace(",", " ").split()
    return selection_of(read_query(form.get("q", "")), traces=traces)


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
