"""Replay over gRPC and on the command line: the same answers as from the library, to those who may have them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aisecops.v1 import replay_pb2
from aisecops.v1 import replay_service_pb2 as api
from aisecops_client import Client, NotFoundError, RequestRefusedError
from aisecops_client.errors import AisecopsClientError
from aisecops_client.replays import Replays
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.serving import serving
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.replays.replay import ReplayId
from aisecops_server.entrypoints.grpc.replay_codec import explain_change_message, report_message, result_message
from aisecops_server.usecases.replays.read_replays import ResultFilter
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from google.protobuf.json_format import MessageToDict

from tests.scenes.policy.git_remotes import Remote
from tests.scenes.replays.replays import Recorded, copy_of, open_replaying, program, record, replayed

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

R = TypeVar("R")
LIMIT = "approvals.tools.crm/issue_refund.amount_over"
SUPPORT = "spiffe://corp.example/agent/support-assistant"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    recorded = asyncio.run(record(tmp_path_factory.mktemp("api")))
    recorded.edit_limits()
    return recorded


@pytest.fixture
def history(made: Recorded, tmp_path: Path) -> Recorded:
    return copy_of(made, tmp_path / "copy")


def on(revision: str = "main", **more: Any) -> api.StartReplayRequest:
    return api.StartReplayRequest(candidate=replay_pb2.ReplayPolicy(revision=revision), **more)


def files_of(*paths: str) -> replay_pb2.PolicyFiles:
    return replay_pb2.PolicyFiles(files=[replay_pb2.PolicyFile(path=path) for path in paths])


async def as_role(
    history: Recorded, work: Callable[[Replays], R], *roles: Role, subject: str = "ann@corp.example"
) -> R:
    """Ask a control plane that serves meanwhile, with the blocking client, in a thread of its own."""
    token = issuer(history.settings).mint(subject, roles or (Role.SECURITY,))

    def ask() -> R:
        with Client.connect(f"unix:{history.settings.socket}", token) as client:
            return work(Replays(client))

    return await asyncio.to_thread(ask)


def shown(message: Any) -> dict[str, Any]:
    return MessageToDict(message, always_print_fields_with_no_presence=True)


async def test_the_library_the_api_and_the_command_line_give_the_same(history: Recorded, tmp_path: Path) -> None:
    apart = copy_of(history, tmp_path / "apart")
    async with open_replaying(history) as replaying:
        done = await replayed(replaying, WantedPolicy(revision="main"))
        page = await replaying.reads.results(done.id, ResultFilter(), page_size=100, page_token="")
    library = shown(report_message(done.report or {})), [shown(result_message(item)) for item in page.results]

    async with serving(apart.settings):
        token = issuer(apart.settings).mint("ann@corp.example", (Role.SECURITY,))

        def ask(replays: Replays) -> tuple[replay_pb2.Replay, list[replay_pb2.ReplayResult]]:
            *_, last = replays.watch(replays.start(on()).replay_id)
            return last, list(replays.results(last.replay_id))

        answered, results = await as_role(apart, ask)
        asked = await program(apart, "replay", "run", "--against", "main", "-o", "json", token=token)
        listed = await program(apart, "replay", "run", "--against", "main", "-o", "ndjson", token=token)
    local = await program(history, "replay", "run", "--against", "main", "--local", "-o", "json")

    assert (shown(answered.report), list(map(shown, results))) == library
    assert answered.replay_id == done.id
    assert [asked[0], listed[0], local[0]] == [ExitCode.REPLAY_CHANGED] * 3, asked + listed + local
    assert json.loads(asked[1])["replay"]["report"] == library[0] == json.loads(local[1])["replay"]["report"]
    assert [json.loads(line) for line in listed[1].splitlines()] == library[1]


async def test_a_watched_replay_tells_its_early_answer_once_and_its_report_at_the_end(history: Recorded) -> None:
    async with serving(history.settings):

        def ask(replays: Replays) -> list[replay_pb2.Replay]:
            return list(replays.watch(replays.start(on(everything=True)).replay_id))

        seen = await as_role(history, ask, Role.AUDITOR)
    early = [replay for replay in seen if replay.HasField("early")]
    assert len(early) == 1 or (len(early) == 2 and early[-1] is seen[-1])
    assert seen[-1].HasField("report")
    assert not any(replay.HasField("report") for replay in seen[:-1])
    assert seen[-1].state == replay_pb2.REPLAY_STATE_DONE


async def test_replays_are_listed_read_and_narrowed(history: Recorded) -> None:
    async with serving(history.settings):

        def ask(replays: Replays) -> dict[str, Any]:
            first, second = replays.start(on()).replay_id, replays.start(on(history.first)).replay_id
            for replay_id in (first, second):
                *_, _ = replays.watch(replay_id)
            looser = api.ReplayResultFilter(direction=replay_pb2.DIRECTION_LOOSER)
            rule = api.ReplayResultFilter(rule="approval.amount_over_limit", verdict_class="VERDICT_CLASS_OUTCOME_FLIP")
            page = replays.replays(page_size=1)
            return {
                "ids": [first, second],
                "first page": [replay.replay_id for replay in page.replays],
                "second page": [
                    replay.replay_id for replay in replays.replays(page_size=1, page_token=page.next_page_token).replays
                ],
                "listed": page.replays[0],
                "read": replays.replay(first),
                "looser": list(replays.results(first, looser)),
                "rule": list(replays.results(first, rule)),
                "none": list(replays.results(second)),
                "cancelled": replays.cancel(first),
            }

        found = await as_role(history, ask)
    assert found["first page"] + found["second page"] == found["ids"][::-1]
    assert not found["listed"].report.agents
    assert found["listed"].report.compared == 18
    assert found["read"].report.agents
    assert [result.direction for result in found["looser"]] == [replay_pb2.DIRECTION_LOOSER]
    assert len(found["rule"]) == 2
    assert found["none"] == []
    # What is over stays as it is.
    assert found["cancelled"].state == replay_pb2.REPLAY_STATE_DONE


async def test_an_app_replays_its_own_decisions_on_what_is_committed_and_sees_no_others(history: Recorded) -> None:
    async with serving(history.settings):

        def everybody(replays: Replays) -> str:
            *_, last = replays.watch(replays.start(on()).replay_id)
            return last.replay_id

        others = await as_role(history, everybody)

        def app(replays: Replays) -> tuple[replay_pb2.Replay, list[str], list[str]]:
            *_, last = replays.watch(replays.start(on()).replay_id)
            refused = []
            for request in (
                on(selection=replay_pb2.ReplaySelection(agent_id="spiffe://corp.example/agent/finance-assistant")),
                api.StartReplayRequest(candidate=replay_pb2.ReplayPolicy(changes=[f"{LIMIT}=1"])),
                api.StartReplayRequest(candidate=replay_pb2.ReplayPolicy(files=files_of("bundle.yaml"))),
                api.StartReplayRequest(
                    candidate=replay_pb2.ReplayPolicy(revision="main"),
                    baseline=replay_pb2.ReplayPolicy(changes=[f"{LIMIT}=1"]),
                ),
            ):
                with pytest.raises(AisecopsClientError) as error:
                    replays.start(request)
                refused.append(error.value.reason)
            for look in (replays.replay, replays.cancel, lambda name: list(replays.watch(name)), _results(replays)):
                with pytest.raises(NotFoundError):
                    look(others)
            return last, refused, [replay.replay_id for replay in replays.replays().replays]

        own, refused, listed = await as_role(history, app, Role.APP, subject=SUPPORT)
    assert refused == ["NOT_PERMITTED"] * 4
    assert listed == [own.replay_id]
    assert [agent.agent_id for agent in own.report.agents] == [SUPPORT]
    assert own.selection.agent_id == SUPPORT


def _results(replays: Replays) -> Callable[[str], list[replay_pb2.ReplayResult]]:
    return lambda replay_id: list(replays.results(replay_id))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (on(selection=replay_pb2.ReplaySelection(outcome="MAYBE")), "selection.outcome"),
        (on(selection=replay_pb2.ReplaySelection(trust="much")), "selection.trust"),
        (on(selection=replay_pb2.ReplaySelection(agent_id="a" * 300)), "selection.agent_id"),
        (on(selection=replay_pb2.ReplaySelection(trace_ids=["xyz"])), "selection.trace_ids"),
        (on(selection=replay_pb2.ReplaySelection(trace_ids=["0" * 32] * 1001)), "selection.trace_ids"),
        (on("r" * 300), "candidate.revision"),
        (on(), ""),
        (api.StartReplayRequest(), "candidate"),
        (api.StartReplayRequest(candidate=replay_pb2.ReplayPolicy(changes=["x"])), "set"),
        (
            api.StartReplayRequest(candidate=replay_pb2.ReplayPolicy(files=files_of("bundle.yaml", "bundle.yaml"))),
            "candidate.files",
        ),
        (
            api.StartReplayRequest(candidate=replay_pb2.ReplayPolicy(files=files_of("rego/../x.rego"))),
            "files",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_does_not_fit_is_refused_by_the_name_of_its_field(
    history: Recorded, request_: api.StartReplayRequest, field: str
) -> None:
    async with serving(history.settings):
        if not field:
            with pytest.raises(AisecopsClientError):
                await as_role(history, lambda replays: list(replays.watch("rpl-nothing")))
            return
        with pytest.raises(RequestRefusedError) as refused:
            await as_role(history, lambda replays: replays.start(request_))
    assert refused.value.metadata["field"] == field


async def test_a_proposal_of_the_repository_is_replayed_on_without_being_merged(history: Recorded) -> None:
    remote = Remote(history.policy)
    remote.git("checkout", "--quiet", "-b", "proposal", history.first)
    text = history.text("data/approvals.yaml").replace("amount_over: 100\n", "amount_over: 1\n")
    proposed = remote.commit({"data/approvals.yaml": text.encode()}, "ask for everything")
    remote.git("update-ref", "refs/pull/7/head", proposed)
    remote.git("checkout", "--quiet", "main")
    remote.git("branch", "--quiet", "-D", "proposal")
    code, out, err = await program(history, "replay", "run", "--against", "pull/7", "--local", "-o", "json")
    assert code == ExitCode.REPLAY_CHANGED, err
    found = json.loads(out)["replay"]
    assert (found["candidate"]["name"], found["candidate"]["revision"]) == ("pull/7", proposed)
    assert int(found["report"]["stricter"]) >= 1
    missing = await program(history, "replay", "run", "--against", "pull/8", "--local", "-o", "json")
    assert (missing[0], json.loads(missing[1])["error"]["reason"]) == (ExitCode.NOT_FOUND, "UNKNOWN_REVISION")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("--against", "main"), ExitCode.REPLAY_CHANGED),
        (("--against", "main", "--fail-on", "looser"), ExitCode.REPLAY_CHANGED),
        (("--against", "main", "--fail-on", "risky"), ExitCode.OK),
        (("--against", "main", "--fail-on", "never"), ExitCode.OK),
        (("--against", "main~1"), ExitCode.OK),
        (("--against", "nowhere"), ExitCode.NOT_FOUND),
        (("--against", "main", "--agent", "nobody"), ExitCode.NOT_FOUND),
        (("--against", "main", "--revision", "0" * 40), ExitCode.NOT_FOUND),
        (("--set", "approvals.nonsense"), ExitCode.USAGE),
        ((), ExitCode.USAGE),
        (("--engine", "9.9.9"), ExitCode.UNREACHABLE),
        (("--set", f"{LIMIT}=plenty"), ExitCode.FAILURE),
    ],
    ids=str,
)
async def test_the_exit_code_says_what_came_of_it(history: Recorded, line: tuple[str, ...], code: ExitCode) -> None:
    done, out, err = await program(history, "replay", "run", *line, "--local", "-o", "json")
    assert done == code, out + err
    assert ("error" in json.loads(out)) == (code not in (ExitCode.OK, ExitCode.REPLAY_CHANGED))


async def test_why_is_the_same_by_rpc_by_the_command_line_and_by_the_library(history: Recorded) -> None:
    refund = history.decision("refund-lost-parcel")
    async with serving(history.settings):

        def ask(replays: Replays) -> tuple[str, api.ExplainChangeResponse]:
            *_, last = replays.watch(replays.start(on()).replay_id)
            return last.replay_id, replays.why(last.replay_id, decision_id=refund)

        replay_id, answered = await as_role(history, ask, Role.AUDITOR)

        def refused(replays: Replays) -> str:
            with pytest.raises(AisecopsClientError) as error:
                replays.why(replay_id, decision_id=refund)
            return error.value.reason

        # It tells what would get past a rule.
        assert [await as_role(history, refused, role, subject=SUPPORT) for role in (Role.APP, Role.AGENT)] == [
            "NOT_PERMITTED",
            "NOT_PERMITTED",
        ]
    async with open_replaying(history) as replaying:
        library = explain_change_message(await replaying.why(ReplayId(replay_id), decision_id=refund))
    code, out, err = await program(history, "replay", "why", replay_id, refund, "--local", "-o", "json")
    assert code == ExitCode.OK, err
    assert shown(answered) == shown(library) == json.loads(out)
    trace = str(history.decided["refund-lost-parcel"].details["trace_id"])
    drawn = await program(history, "replay", "why", replay_id, trace, "--local")
    flat = " ".join(drawn[1].split())
    for part in (
        "✓ allowed → ▲ escalated",
        "approval.amount_over_limit at refund fires now",
        f"{LIMIT} 100 → 50",
        "decisive: taken back alone, the decision stays",
        "/plan/steps/1/arguments/amount = 64",
        "If amount of crm/issue_refund were 50: ✓ allowed",
        "without any part of it, the decision stays",
    ):
        assert part in flat, drawn
    missing = await program(history, "replay", "why", replay_id, "dec-nothing", "--local")
    assert missing[0] == ExitCode.NOT_FOUND


async def test_a_trace_on_revisions_and_along_history_is_the_same_by_rpc_and_on_the_command_line(
    history: Recorded,
) -> None:
    trace = str(history.decided["refund-lost-parcel"].details["trace_id"])
    async with serving(history.settings):

        def ask(replays: Replays) -> tuple[Any, Any, list[int]]:
            told: list[int] = []
            matrix = replays.matrix([trace], [history.first, "main"], lambda done, _total: told.append(done))
            return matrix, replays.bisect(trace), told

        matrix, bisected, told = await as_role(history, ask, Role.AUDITOR)

        def refused(replays: Replays) -> list[str]:
            reasons = []
            for work in (lambda: replays.matrix([trace], ["main"]), lambda: replays.bisect(trace)):
                with pytest.raises(AisecopsClientError) as error:
                    work()
                reasons.append(error.value.reason)
            with pytest.raises(AisecopsClientError):
                replays.bisect("no trace")
            return reasons

        assert await as_role(history, refused, Role.APP, subject=SUPPORT) == ["NOT_PERMITTED"] * 2
    assert told == [0, 1, 2]
    asked = ("--against", history.first, "--against", "main", "--local")
    code, out, err = await program(history, "replay", "matrix", trace, *asked, "-o", "json")
    assert (code, json.loads(out)) == (ExitCode.OK, shown(matrix)), err
    drawn = (await program(history, "replay", "matrix", trace, *asked))[1]
    assert [word in drawn for word in ("✓ allowed", "▲ escalated  flips", history.first[:8])] == [True] * 3, drawn
    code, out, err = await program(history, "replay", "bisect", trace, "--local", "-o", "json")
    assert (code, json.loads(out)) == (ExitCode.REPLAY_CHANGED, shown(bisected)), err
    drawn = (await program(history, "replay", "bisect", trace, "--local"))[1]
    for part in ("Look at refunds over 50", "✓ allowed → ▲ escalated", "it changed once, and every commit was asked"):
        assert part in drawn
    same = await program(history, "replay", "bisect", trace, "--bad", history.first, "--local")
    assert (same[0], "one commit" in same[2]) == (ExitCode.USAGE, True)


async def test_a_person_sees_what_flips_and_why(history: Recorded) -> None:
    code, out, err = await program(history, "replay", "run", "--against", "main", "--local")
    assert code == ExitCode.REPLAY_CHANGED
    flat = " ".join(out.split())
    for part in (
        "✓ trustworthy: 18 of 18 decisions came out again",
        "1 looser, 0 of them blocked before and allowed now",
        "✓ allowed → ▲ escalated approval.amount_over_limit fires now",
        f"{LIMIT} 100 → 50 was at data/approvals.yaml:",
        "support-assistant crm/issue_refund",
    ):
        assert part in flat
    assert "early answer from 18 decisions: about 1 looser, 1 stricter" in err
    replay_id = out.split()[0]
    again = await program(history, "replay", "show", replay_id, "--local", "--direction", "looser")
    assert (again[0], "finance-assistant" in again[1], "support-assistant  crm" in again[1]) == (code, True, False)
    listed = await program(history, "replay", "list", "--local")
    assert replay_id in listed[1]
    assert (await program(history, "replay", "show", "rpl-nothing", "--local"))[0] == ExitCode.NOT_FOUND


async def test_a_reviewer_judges_a_group_on_the_command_line_and_everybody_reads_it(history: Recorded) -> None:
    async with serving(history.settings):
        reviewer = issuer(history.settings).mint("rita@corp.example", (Role.SECOPS,))
        author = issuer(history.settings).mint("pat@corp.example", (Role.PLATFORM,))
        ran = await program(history, "replay", "run", "--against", "main", "-o", "json", token=author)
        replay_id = json.loads(ran[1])["replay"]["replayId"]
        shown = await program(history, "replay", "show", replay_id, "-o", "json", token=author)
        first = json.loads(shown[1])["groups"]["groups"][0]
        said = ("replay", "judge", replay_id, first["groupId"], "unexpected")
        refused = await program(history, *said, "--reason", "I wrote it.", token=author)
        without = await program(history, *said, token=reviewer)
        judged = await program(history, *said, "--reason", "No\x1b[2J ticket.", token=reviewer)
        seen = await program(history, *said[:4], "seen", "-o", "json", token=reviewer)
        one = await program(history, *said[:3], first["examples"][0], "seen", token=reviewer)
        nowhere = await program(history, "replay", "judge", "rpl-0", "grp-0", "seen", token=reviewer)
        again = await program(history, "replay", "show", replay_id, token=author)
    local = await program(history, "replay", "show", replay_id, "--local", "-o", "json")
    assert [refused[0], without[0], nowhere[0]] == [
        ExitCode.NOT_PERMITTED,
        ExitCode.USAGE,
        ExitCode.NOT_FOUND,
    ]
    assert [judged[0], seen[0], one[0]] == [ExitCode.OK] * 3, judged[2] + seen[2] + one[2]
    # Seen takes nothing back.
    assert json.loads(seen[1])["verdict"]["judgement"] == "JUDGEMENT_UNEXPECTED"
    for out in (judged[1], again[1]):
        assert "unexpected by rita@corp.example at " in " ".join(out.split())
        assert "\x1b[2J" not in out
        assert "\\x1b[2J ticket." in " ".join(out.split())
    flat = " ".join(again[1].split())
    assert f"{first['groupId']} 1 decision ▲ escalated → ✓ allowed" in flat
    assert "rita@corp.example has seen 1 of 2" in flat
    told = json.loads(local[1])
    assert [verdict["judgement"] for verdict in told["review"]["verdicts"]] == [
        "JUDGEMENT_UNEXPECTED",
        "JUDGEMENT_SEEN",
    ]
    assert told["groups"]["groups"] == json.loads(shown[1])["groups"]["groups"]


async def test_a_working_copy_is_replayed_on_before_it_is_committed(history: Recorded, tmp_path: Path) -> None:
    (history.policy / "data/approvals.yaml").write_text(
        history.text("data/approvals.yaml").replace("amount_over: 50\n", "amount_over: 100\n")
    )
    line = ("replay", "run", "--working-copy", str(history.policy), "--local", "-o", "json")
    code, out, err = await program(history, *line)
    assert code == ExitCode.REPLAY_CHANGED, err
    found = json.loads(out)["replay"]
    assert found["candidate"]["name"] == "working copy"
    assert [found["report"][name] for name in ("looser", "stricter")] == ["1", "0"]
    (tmp_path / "empty").mkdir()
    nothing = await program(history, *line[:3], str(tmp_path / "empty"), "--local")
    assert nothing[0] == ExitCode.USAGE
    (history.policy / "data/extra.yaml").symlink_to("/etc/hostname")
    linked = await program(history, *line[:-2])
    assert (linked[0], "plain file" in linked[2]) == (ExitCode.USAGE, True)
