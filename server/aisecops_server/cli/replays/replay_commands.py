"""The commands of ``aisecops replay``."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command, current
from aisecops_server.cli.output import say, show, show_lines, show_list, when
from aisecops_server.cli.progress import progress
from aisecops_server.cli.replays.replay_partitions import indexed, partitioned
from aisecops_server.cli.traces.narrowing import narrowing, selection_of

if TYPE_CHECKING:
    from aisecops.v1 import replay_pb2
    from aisecops.v1 import replay_service_pb2 as api
    from rich.console import Console

    from aisecops_server.cli.replays.replay_places import Place
    from aisecops_server.domain.policy.accepted_flips import Flip

# What makes a replay fail a build: by name, whether a report has it.
_FLIPS = ("looser", "stricter")
FAIL_ON = ("changed", "looser", "stricter", "risky", "never")
_CLASSES = ("outcome-flip", "reason-only", "obligation-change", "error", "indeterminate")
LOCAL = "Work in this process on the state directory, with or without a control plane beside it."
REPORTS = ("junit", "accepted-flips")
_SHOWN_RESULTS = 20


@command(
    "run",
    examples="""
    aisecops replay run --against main                       all that is recorded, on the head of main
    aisecops replay run --against pull/7 --outcome blocked --fail-on looser
    aisecops replay run --working-copy ./policy              what you have not committed yet
    aisecops replay run --set approvals.tools.crm/issue_refund.amount_over=50
    aisecops replay run --engine ./opa                       another engine, each decision's own policy
    aisecops replay run --against main -o ndjson | jq -c '{decisionId, before, after}'
    aisecops replay run --against main --partitions /srv/partitions --log-key "$(cat log.key)"
    """,
)
@click.option("--against", default="", help="Replay on a commit, branch, tag, or proposal such as pull/7.")
@click.option(
    "--working-copy",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Replay on the policy files in a directory.",
)
@click.option("--set", "changes", multiple=True, help="Change a value of a table: table.key=value. May be repeated.")
@click.option("--engine", default="", help="Replay on another engine: an installed version, or the path of a binary.")
@click.option("--baseline", default="", help="Compare with what this revision says, not with what is on record.")
@click.option("--trace", "traces", multiple=True, help="A trace's id. May be repeated.")
@narrowing
@click.option("--everything", is_flag=True, help="Evaluate everything anew, whatever is known already.")
@click.option(
    "--fail-on", type=click.Choice(FAIL_ON), default="changed", show_default=True, help="What exit code 5 is for."
)
@click.option("--local", is_flag=True, help=LOCAL)
@partitioned
def run(**asked: Any) -> ExitCode:
    """Replay history and say what flips.

    The options of the lower half select recorded decisions; without any, all are replayed. First a sample is asked
    again on its own policy and engine; then a sample of every kind of decision answers, then all of them. Ctrl-C stops
    it, and the same line goes on where it was. Exit code 5 when decisions changed, 9 when the replay cannot be trusted.
    """
    request = _request(asked)
    with _placed(asked) as place:
        with progress("replaying", "decisions") as advance:
            done = place.run(request, _told(advance))
        require_done(done)
        _show(place, done, _result_filter({}))
        return _exit_code(done.report, asked["fail_on"])


@command(
    "show",
    examples="""
    aisecops replay show rpl-6cbe68d00ca61b32f8f66b22
    aisecops replay show rpl-6cbe68d00ca61b32f8f66b22 --direction looser -o ndjson
    aisecops replay show rpl-6cbe68d00ca61b32f8f66b22 --report accepted-flips >> accepted-flips.yaml
    """,
)
@click.argument("replay", help="A replay's id, as 'replay list' prints it.")
@click.option("--class", "verdict_class", type=click.Choice(_CLASSES), help="Keep decisions of one class.")
@click.option("--direction", type=click.Choice(_FLIPS), help="Keep flips of one direction.")
@click.option("--rule", default="", help="Keep decisions on which a rule fires now or no longer.")
@click.option("--agent", default="", help="Keep decisions of one agent.")
@click.option("--tool", default="", help="Keep decisions on plans with a tool.")
@click.option(
    "--report",
    type=click.Choice(REPORTS),
    help="Print a report instead: 'junit', where only what is expected passes, or 'accepted-flips', its entries.",
)
@click.option("--local", is_flag=True, help=LOCAL)
@partitioned
def show_replay(*, replay: str, report: str | None, **asked: Any) -> ExitCode:
    """Show a replay, the decisions that changed in groups, and what reviewers said. Exit codes as for 'replay run'."""
    with _placed(asked) as place:
        found = place.replay(replay)
        if report:
            require_done(found)
            click.echo(_report(place, found, report), nl=False)
            return _exit_code(found.report, "changed")
        _show(place, found, _result_filter(asked), reviewed=True)
    return _exit_code(found.report, "changed") if found.HasField("report") else ExitCode.OK


@command(
    "why",
    examples="""
    aisecops replay why rpl-6cbe68d00ca61b32f8f66b22 dec-01a21687da75914ec94d11d586f1067c
    aisecops replay why rpl-6cbe68d00ca61b32f8f66b22 01a21687da5b5d32b483b88d48cc15aa -o json
    """,
)
@click.argument("replay", help="A replay's id, as 'replay run' prints it.")
@click.argument("subject", metavar="DECISION|TRACE", help="A decision's id, or a trace's for all its decisions.")
@click.option("--elsewhere", is_flag=True, help="Show the lines too that changed and on which it does not hang.")
@click.option("--local", is_flag=True, help=LOCAL)
@partitioned
def why(*, replay: str, subject: str, elsewhere: bool, **asked: Any) -> ExitCode:
    """Say why a decision flips, and what would have to be otherwise.

    Names the rules that fire now and no longer, the difference between the policies that is decisive (each is taken
    back alone, and the decision evaluated), its lines in both policies with those that held, the facts that those rules
    read, and the smallest change of the input with which the candidate would decide otherwise, verified by evaluating;
    where none is found, after how many tries.
    """
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415

    with _placed(asked) as place:
        explained = to_json(place.why(replay, subject))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.flips import change_block  # noqa: PLC0415

        console.print(change_block(console, explained, elsewhere=elsewhere))

    show(explained, draw)
    return ExitCode.OK


@command("list", examples="aisecops replay list --limit 5")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Replays on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
@click.option("--local", is_flag=True, help=LOCAL)
def list_replays(*, limit: int, page: str, local: bool) -> ExitCode:
    """List replays, newest first."""
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415

    found = to_json(place_of(local=local).replays(page_size=limit, page_token=page))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.replays import replay_table  # noqa: PLC0415

        console.print(replay_table(console, found["replays"], when))

    show_list(found, items="replays", draw=draw, empty="no replays yet; 'aisecops replay run --against main' makes one")
    if found["nextPageToken"]:
        say(f"more: --page {found['nextPageToken']}")
    return ExitCode.OK


@command("cancel", examples="aisecops replay cancel rpl-6cbe68d00ca61b32f8f66b22")
@click.argument("replay", help="A replay's id.")
def cancel(*, replay: str) -> ExitCode:
    """Stop a replay of the control plane; what it found is kept."""
    from aisecops_client.replays import Replays  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(Replays(client).cancel(replay))
    show({"replay": found}, lambda console: console.print(f"{replay} is {found['state'].rpartition('_')[2].lower()}"))
    return ExitCode.OK


def _report(place: Place, found: replay_pb2.Replay, kind: str) -> str:
    from aisecops.v1 import replay_service_pb2  # noqa: PLC0415

    from aisecops_server.cli.connection import to_json  # noqa: PLC0415
    from aisecops_server.domain.policy.impact import flips_of  # noqa: PLC0415
    from aisecops_server.domain.replays.flip_reports import accepted_entries, junit, reviewed_groups  # noqa: PLC0415

    listed, review = map(to_json, place.groups(found.replay_id))
    groups, name = reviewed_groups(listed["groups"], review["verdicts"]), f"replay {found.replay_id}"
    if kind == "junit":
        return junit(groups, name=name, compared=int(found.report.compared), left_out=int(listed["leftOut"]))

    def of(group_id: str) -> list[Flip]:
        narrow = replay_service_pb2.ReplayResultFilter(group_id=group_id)
        return list(flips_of(list(map(to_json, place.results(found.replay_id, narrow)))))

    return accepted_entries([(group, of(group.group_id) if group.expected else []) for group in groups], about=name)


@contextlib.contextmanager
def _placed(asked: Mapping[str, Any]) -> Iterator[Place]:
    """Give where to ask, which for partitions lasts as long as the block."""
    from aisecops_server.cli.configuration import settings  # noqa: PLC0415
    from aisecops_server.cli.replays.replay_places import Here  # noqa: PLC0415

    place = place_of(local=asked["local"] or asked["partitions"] is not None, engine=asked.get("engine", ""))
    with indexed(settings, asked["partitions"], asked["log_key"]) as index:
        if not isinstance(place, Here):
            yield place
            return
        with dataclasses.replace(place, history=index).held() as here:
            yield here


def place_of(*, local: bool, engine: str = "") -> Place:
    """Return where to ask: a control plane, or this process."""
    from aisecops_server.cli.replays.replay_places import ControlPlane, Here  # noqa: PLC0415

    # A path is a program of this machine, so it is run here; nobody else is told to run it.
    binary = Path(engine) if engine and ("/" in engine or Path(engine).is_file()) else None
    return Here(binary) if local or binary else ControlPlane()


def _request(asked: Mapping[str, Any]) -> api.StartReplayRequest:
    from aisecops.v1 import replay_pb2, replay_service_pb2  # noqa: PLC0415

    selection = selection_of(asked, traces=asked["traces"])
    engine = "" if "/" in asked["engine"] else asked["engine"]
    candidate = replay_pb2.ReplayPolicy(changes=asked["changes"], engine=engine)
    if asked["against"]:
        candidate.revision = asked["against"]
    if asked["working_copy"]:
        if asked["against"]:
            raise click.UsageError("--against and --working-copy are two candidates; give one")
        read = _files(asked["working_copy"])
        candidate.files.files.extend(replay_pb2.PolicyFile(path=path, content=text) for path, text in read.items())
    request = replay_service_pb2.StartReplayRequest(
        selection=selection, candidate=candidate, everything=asked["everything"]
    )
    if asked["baseline"]:
        request.baseline.revision = asked["baseline"]
    return request


def _files(directory: Path) -> dict[str, bytes]:
    from aisecops_server.adapters.bundles.working_copy import read_working_copy  # noqa: PLC0415

    return read_working_copy(directory)


def _told(advance: Callable[[int, int | None], None]) -> Callable[[replay_pb2.Replay], None]:
    early: list[str] = []

    def told(replay: replay_pb2.Replay) -> None:
        if replay.HasField("early") and not early and not replay.HasField("report"):
            early.append(replay.replay_id)
            say(_early(replay.early))
        advance(replay.progress.done, replay.progress.total)

    return told


def _early(report: replay_pb2.ReplayReport) -> str:
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415
    from aisecops_server.terminal.replays import early_line  # noqa: PLC0415

    return early_line(to_json(report))


def require_done(done: replay_pb2.Replay) -> None:
    """Raise what went wrong with a replay that has no report."""
    from aisecops.v1 import replay_pb2  # noqa: PLC0415

    from aisecops_server.domain import errors  # noqa: PLC0415

    if done.state == replay_pb2.REPLAY_STATE_DONE:
        return
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "reason")]
    kind = next((kind for kind in kinds if kind.reason == done.reason), errors.AisecopsError)
    message, _, hint = (done.problem or "the replay was stopped").partition(". ")
    raise kind(message, hint=hint)


def _show(place: Place, found: replay_pb2.Replay, narrow: api.ReplayResultFilter, *, reviewed: bool = False) -> None:
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415

    document = to_json(found)
    if current().output == "ndjson":
        show_lines(map(to_json, place.results(found.replay_id, narrow)))
        return
    told = dict(zip(("groups", "review"), map(to_json, place.groups(found.replay_id)), strict=True)) if reviewed else {}

    def draw(console: Console) -> None:
        from aisecops_server.terminal.replays import replay_block  # noqa: PLC0415
        from aisecops_server.terminal.reviews import review_block  # noqa: PLC0415

        results = list(map(to_json, place.results(found.replay_id, narrow)))
        console.print(replay_block(console, document, results[:_SHOWN_RESULTS], left_out=len(results) - _SHOWN_RESULTS))
        if told:
            console.print(review_block(console, told["groups"], told["review"]))

    show({"replay": document, **told}, draw)
    if current().output == "table":
        say(f"aisecops replay show {found.replay_id}  shows it again")


def _result_filter(narrow: Mapping[str, Any]) -> api.ReplayResultFilter:
    from aisecops.v1 import replay_pb2, replay_service_pb2  # noqa: PLC0415

    kind, direction = narrow.get("verdict_class"), narrow.get("direction")
    return replay_service_pb2.ReplayResultFilter(
        verdict_class=replay_pb2.VerdictClass.Value(f"VERDICT_CLASS_{_enum(kind)}"),
        direction=replay_pb2.Direction.Value(f"DIRECTION_{_enum(direction)}"),
        rule=narrow.get("rule", ""),
        agent_id=narrow.get("agent", ""),
        tool=narrow.get("tool", ""),
    )


def _enum(word: str | None) -> str:
    return word.upper().replace("-", "_") if word else "UNSPECIFIED"


def _exit_code(report: replay_pb2.ReplayReport, fail_on: str) -> ExitCode:
    from aisecops.v1 import replay_pb2  # noqa: PLC0415

    if not report.fidelity.trustworthy:
        return ExitCode.UNVERIFIED
    counts = {entry.verdict_class: entry.count for entry in report.classes}
    quiet = (replay_pb2.VERDICT_CLASS_SAME, replay_pb2.VERDICT_CLASS_REASON_ONLY)
    found = {
        "changed": sum(count for kind, count in counts.items() if kind not in quiet),
        "looser": report.looser,
        "stricter": report.stricter,
        "risky": report.risky,
        "never": 0,
    }
    return ExitCode.REPLAY_CHANGED if found[fail_on] else ExitCode.OK
