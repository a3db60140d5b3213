"""``aisecops policy impact``: what a change would have done to recorded decisions, and what its gates say of it."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.cli.progress import progress, waiting
from aisecops_server.cli.spelling import camel_case

if TYPE_CHECKING:
    from aisecops.v1 import replay_pb2
    from aisecops.v1 import replay_service_pb2 as api
    from rich.console import Console

    from aisecops_server.cli.replays.replay_places import Place
    from aisecops_server.domain.bundles.bundle import PolicyTree
    from aisecops_server.domain.policy.impact import Impact

FORMATS = ("markdown", "html", "json")
WORKTREE = "worktree"
_DIRECTORY = click.Path(path_type=Path, file_okay=False, exists=True)
_SINCE = re.compile(r"([1-9][0-9]{0,3})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class _Change:
    """What is compared: two trees of one checkout, and the names under which a replay finds them.

    Gates are those of ``target``, which is what it is merged into as that is now: who branched off before a gate was
    closed passes the closed one.
    """

    target: PolicyTree
    base: PolicyTree
    candidate: PolicyTree
    revision: str


@command(
    "impact",
    examples="""
    aisecops policy impact --base main --since 30d
    aisecops policy impact --base origin/main --corpus recent.ndjson.gz --report markdown=impact.md
    aisecops policy impact --base v1 --candidate v2 --report html=impact.html
    """,
)
@click.argument("directory", type=_DIRECTORY, default=Path())
@click.option(
    "--base", required=True, help="What the change is to be merged into; compared is the commit where they parted."
)
@click.option(
    "--candidate", default=WORKTREE, show_default=True, help="The change: a revision, or the files as they lie."
)
@click.option("--since", default="30d", show_default=True, help="How old decisions may be: 12h, 30d, 8w.")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Decisions of a file that 'policy corpus export' wrote, instead of a control plane's.",
)
@click.option("--local", is_flag=True, help="Read the log of the state directory in this process.")
@click.option("--samples", type=click.IntRange(0, 20), default=_SAMPLES, show_default=True, help="Flips to explain.")
@click.option("--no-cost", is_flag=True, help="Do not measure what an evaluation takes.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    metavar="FORMAT[=FILE]",
    help=f"Write a report too: {', '.join(FORMATS)}. Without a file it goes to standard output.",
)
def impact(**asked: Any) -> ExitCode:
    """Say what the change in DIRECTORY would have done to recorded decisions.

    Base and change decide the same recorded documents; what flips is counted by direction, rule, agent, tool and
    tenant, with samples and the reason for each. The gates of the base as it is now then say whether it may be merged:
    denials of severe rules that would be allowed, and more flips than the budget, need an entry in accepted-flips.yaml
    of the change.
    Exit code 5 when a gate refuses it, 9 when the replay cannot be trusted.
    """
    reports = [_report(text) for text in asked["reports"]]
    with _place(asked) as place:
        found = _measured(_change(asked["directory"], asked["base"], asked["candidate"]), place, asked)
    document = found.as_json()
    _show(document, quiet=any(file is None for _, file in reports))
    for name, file in reports:
        _write(document, name, file)
    if not found.trustworthy:
        return ExitCode.UNVERIFIED
    return ExitCode.OK if found.passed else ExitCode.REPLAY_CHANGED


def _measured(change: _Change, place: Place, asked: Mapping[str, Any]) -> Impact:
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.bootstrap.policy import accepted_of, policies_of  # noqa: PLC0415
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415
    from aisecops_server.domain.policy.accepted_flips import judged  # noqa: PLC0415
    from aisecops_server.domain.policy.impact import Impact, protected_problems, shared_problems  # noqa: PLC0415

    clock = SystemClock()
    began, today = clock.monotonic_ns(), datetime.fromtimestamp(clock.now_ns() / 1e9, tz=UTC).date()
    policies, accepted = policies_of(change.target), accepted_of(change.candidate, change.base, change.target)
    since = since_of(asked["since"], clock.now_ns())
    done = _replayed(place, _request(change, since=since))
    results = _results(place, done)
    source = _source(asked)
    found = Impact(to_json(done), results, policies, source)
    traces = policies.gates.protected_traces
    protected = _protected(change, place, traces, known=results)
    seen = [*results, *(protected or ())]
    flips = replace(found, results=seen).flips
    found = replace(
        found,
        reasons=_reasons(place, found, asked["samples"]),
        costs=None if asked["no_cost"] else _costs(change),
    )
    gates = judged(flips, policies.gates, accepted, severities=policies.severities, today=today)
    return replace(
        found,
        problems=(*shared_problems(found), *protected_problems(seen, traces, found=protected is not None), *gates),
        accepted=accepted.count(found.flips, today),
        milliseconds=(clock.monotonic_ns() - began) // 1_000_000,
    )


def _change(directory: Path, base: str, candidate: str) -> _Change:
    from aisecops_server.adapters.bundles.working_copy import read_working_copy  # noqa: PLC0415
    from aisecops_server.adapters.git.checkout import Checkout  # noqa: PLC0415
    from aisecops_server.domain.policy.policy_draft import drafted_tree  # noqa: PLC0415

    checkout = Checkout(directory)
    target = checkout.tree(checkout.commit_id(base))
    parted = checkout.common(base) if candidate == WORKTREE else checkout.common(base, candidate)
    before = target if parted == target.commit else checkout.tree(parted)
    if candidate == WORKTREE:
        return _Change(target, before, drafted_tree(read_working_copy(directory)), "")
    revision = checkout.commit_id(candidate)
    return _Change(target, before, checkout.tree(revision), revision)


@contextlib.contextmanager
def _place(asked: Mapping[str, Any]) -> Iterator[Place]:
    from aisecops_server.cli.replays.replay_places import ControlPlane, Here  # noqa: PLC0415

    if asked["corpus"]:
        with tempfile.TemporaryDirectory(prefix="aisecops-") as directory:
            corpus = Here(corpus=asked["corpus"], repository=asked["directory"], state=Path(directory) / "s")
            with corpus.held() as here:
                yield here
    elif asked["local"]:
        with Here(repository=asked["directory"]).held() as here:
            yield here
    else:
        yield ControlPlane()


def _request(change: _Change, *, since: datetime | None = None, traces: Sequence[str] = ()) -> api.StartReplayRequest:
    from aisecops.v1 import replay_pb2, replay_service_pb2  # noqa: PLC0415

    request = replay_service_pb2.StartReplayRequest(selection=replay_pb2.ReplaySelection(trace_ids=traces))
    if since is not None:
        getattr(request.selection, "from").FromDatetime(since)
    request.baseline.revision = change.base.commit
    if change.revision:
        request.candidate.revision = change.revision
    else:
        files = change.candidate.files.items()
        request.candidate.files.files.extend(replay_pb2.PolicyFile(path=path, content=text) for path, text in files)
    return request


def _replayed(place: Place, request: api.StartReplayRequest) -> replay_pb2.Replay:
    from aisecops_server.cli.replays.replay_commands import require_done  # noqa: PLC0415

    with progress("replaying", "decisions") as advance:
        done = place.run(request, lambda replay: advance(replay.progress.done, replay.progress.total))
    require_done(done)
    return done


def _results(place: Place, done: replay_pb2.Replay) -> list[dict[str, Any]]:
    from aisecops.v1 import replay_service_pb2  # noqa: PLC0415

    from aisecops_server.cli.connection import to_json  # noqa: PLC0415

    return list(map(to_json, place.results(done.replay_id, replay_service_pb2.ReplayResultFilter())))


def _protected(
    change: _Change, place: Place, traces: Sequence[str], *, known: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]] | None:
    """Return what becomes of protected traces, whenever decided, besides what is ``known``; ``None``: none is there."""
    from aisecops_client.errors import NotFoundError as NotFoundThereError  # noqa: PLC0415

    from aisecops_server.domain.errors import NotFoundError  # noqa: PLC0415

    if not traces:
        return []
    try:
        done = _replayed(place, _request(change, traces=traces))
    except (NotFoundError, NotFoundThereError):
        return None
    seen = {result["decisionId"] for result in known}
    return [result for result in _results(place, done) if result["decisionId"] not in seen]


def _reasons(place: Place, found: Impact, most: int) -> dict[str, dict[str, Any]]:
    """Return why some decisions flip, one of each of the largest groups, as far as it is told."""
    from aisecops_client.errors import AisecopsClientError  # noqa: PLC0415

    from aisecops_server.cli.connection import to_json  # noqa: PLC0415
    from aisecops_server.domain.errors import AisecopsError  # noqa: PLC0415

    flips = {flip.decision_id for flip in found.flips}
    groups = [group for group in found.report["groups"] if flips.intersection(group["examples"])]
    reasons: dict[str, dict[str, Any]] = {}
    examples = [next(str(each) for each in group["examples"] if each in flips) for group in groups[:most]]
    with progress("finding out why", "flips") as advance:
        for done, example in enumerate(examples):
            advance(done, len(examples))
            try:
                explained = to_json(place.why(str(found.replay["replayId"]), example))
            except (AisecopsClientError, AisecopsError) as error:
                say(f"why {example} flips is not told: {error}")
                break
            if explained["changes"]:
                reasons[example] = explained["changes"][0]
    return reasons


def _costs(change: _Change) -> Any:
    from aisecops_server.cli.policy.policy_checks import run_checking  # noqa: PLC0415

    with waiting("measuring what an evaluation takes"):
        return run_checking(lambda checking: checking.cost(change.base, change.candidate))


def since_of(text: str, now_ns: int) -> datetime:
    """Return the moment that a span of time such as ``30d`` is ago."""
    match = _SINCE.fullmatch(text)
    if match is None:
        raise click.UsageError(f"'{text}' is no time: write 12h, 30d or 8w")
    return datetime.fromtimestamp(now_ns // 1_000_000_000, tz=UTC) - int(match[1]) * _UNITS[match[2]]


def _source(asked: Mapping[str, Any]) -> str:
    if asked["corpus"]:
        return f"the corpus {asked['corpus'].name}"
    return f"{'the log here' if asked['local'] else 'the control plane'}, since {asked['since']}"


def _show(document: Mapping[str, Any], *, quiet: bool) -> None:
    def draw(console: Console) -> None:
        from aisecops_server.terminal.impacts import impact_block  # noqa: PLC0415

        console.print(impact_block(console, document))

    if not quiet:
        show(camel_case(document), draw)


def _report(text: str) -> tuple[str, Path | None]:
    name, _, file = text.partition("=")
    if name not in FORMATS:
        raise click.UsageError(f"'{name}' is no report; there are {', '.join(FORMATS)}")
    return name, Path(file) if file else None


def _write(document: Mapping[str, Any], name: str, file: Path | None) -> None:
    from aisecops_server.domain.display.visible_text import json_text  # noqa: PLC0415
    from aisecops_server.domain.policy import impact_text  # noqa: PLC0415

    forms: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
        "markdown": impact_text.markdown,
        "html": impact_text.page,
        "json": lambda each: json_text(camel_case(each), indent=2) + "\n",
    }
    text = forms[name](document)
    if file is None:
        click.echo(text, nl=False)
    else:
        file.write_text(text, encoding="utf-8")
        say(f"wrote {file}")
