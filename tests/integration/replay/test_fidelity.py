"""What makes a replay untrustworthy is said, with its reason; what cannot be known is never guessed."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import apsw
import pytest
from aisecops_server.adapters.bundles.archive import pack, read_archive
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.adapters.opa import binary
from aisecops_server.domain.replays.replay import ReplayRecord, ReplayState
from aisecops_server.usecases.replays.judge_decisions import Thoroughness
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy

from tests.scenes.replays.replays import (
    Recorded,
    classes,
    copy_of,
    forge,
    open_replaying,
    other_version,
    record,
    replayed,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

SCENARIOS = ("answer-ticket", "refund-lost-parcel", "ticket-asks-for-customers")
REFUND = "refund-lost-parcel"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    recorded = asyncio.run(record(tmp_path_factory.mktemp("fidelity"), only=SCENARIOS))
    recorded.edit_limits()
    return recorded


@pytest.fixture
def history(made: Recorded, tmp_path: Path) -> Recorded:
    return copy_of(made, tmp_path / "copy")


async def on_head(history: Recorded, wanted: WantedPolicy | None = None, **options: Any) -> ReplayRecord:
    async with open_replaying(history, **options) as replaying:
        done = await replayed(replaying, wanted or WantedPolicy(revision="main"))
    assert done.state is ReplayState.DONE, done.problem
    return done


def problems(done: ReplayRecord) -> dict[str, int]:
    assert done.report is not None
    fidelity = done.report["fidelity"]
    found = {problem["reason"]: problem["count"] for problem in fidelity["problems"]}
    assert fidelity["trustworthy"] == (not found)
    assert done.early is not None
    assert done.early["fidelity"]["trustworthy"] == fidelity["trustworthy"]
    return found


def reasons(done: ReplayRecord) -> dict[str, int]:
    assert done.report is not None
    return {
        group["reason"]: group["count"]
        for group in done.report["groups"]
        if group["verdict_class"] in ("INDETERMINATE", "ERROR")
    }


async def test_a_whole_history_is_trustworthy(history: Recorded) -> None:
    done = await on_head(history)
    assert problems(done) == {}
    assert classes(done) == {"SAME": 2, "OUTCOME_FLIP": 1}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM document", "document_missing"),
        ("UPDATE document SET bytes = x'7b7d'", "document_altered"),
        ("""UPDATE document SET bytes = CAST('{"plan":{"$masked":"5f"}}' AS BLOB)""", "document_masked"),
        (
            "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'ALLOW', 'DENY') AS BLOB)",
            "record_altered",
        ),
    ],
    ids=["erased", "altered", "masked", "rewritten"],
)
async def test_a_document_that_is_not_what_was_decided_on_is_indeterminate(
    history: Recorded, statement: str, reason: str
) -> None:
    with apsw.Connection(str(history.settings.log_path)) as connection:
        connection.execute(statement)
    done = await on_head(history)
    assert set(problems(done)) == {reason}
    assert set(reasons(done)) == {reason}
    assert "OUTCOME_FLIP" not in classes(done)


async def test_a_decision_that_nobody_made_does_not_reproduce(history: Recorded) -> None:
    forged = await forge(history, "ticket-asks-for-customers", details={"outcome": "ALLOW", "findings": []})
    done = await on_head(history)
    assert problems(done) == {"not_reproduced": 1}
    assert done.report is not None
    (problem,) = done.report["fidelity"]["problems"]
    assert (problem["example"], problem["detail"]) == (forged, "ALLOW became DENY")


async def test_a_record_without_what_a_comparison_needs_is_indeterminate(history: Recorded) -> None:
    await forge(history, REFUND, without=("findings", "steps"))
    done = await on_head(history)
    assert problems(done) == {"fields_missing": 1}
    assert reasons(done) == {"fields_missing: findings, steps": 1}


async def test_a_record_of_an_earlier_version_is_compared_in_what_it_has(history: Recorded) -> None:
    await forge(history, REFUND, without=("charges", "approval_demand", "would_outcome", "policy_mode", "approved_by"))
    done = await on_head(history)
    assert problems(done) == {}
    assert classes(done) == {"SAME": 2, "OUTCOME_FLIP": 2}


async def test_a_document_that_lacks_what_the_candidate_reads_is_no_flip(history: Recorded) -> None:
    def older(document: dict[str, Any]) -> None:
        del document["usage"]

    await forge(history, "answer-ticket", document=older)
    done = await on_head(history)
    # Its own policy cannot read it either, so nobody can say what it would have decided.
    assert problems(done) == {"not_reproduced": 1}
    assert list(reasons(done)) == ["schema_drift: /usage"]
    assert "DENY" not in {entry["after"] for entry in done.report["transitions"]}  # type: ignore[index]


async def test_a_document_of_another_schema_is_not_judged(history: Recorded) -> None:
    def future(document: dict[str, Any]) -> None:
        document["schema_version"] = 9

    await forge(history, "answer-ticket", document=future)
    done = await on_head(history)
    assert problems(done) == {"schema_drift": 1}
    assert reasons(done) == {"schema_drift: schema_version": 1}


async def test_a_policy_that_is_gone_is_said_to_be_gone(history: Recorded) -> None:
    state = history.settings.state_dir
    shutil.rmtree(state / "bundles")
    shutil.rmtree(state / "mirror.git")
    shutil.rmtree(history.policy)
    create_policy_repository(history.policy, at_seconds=1_800_000_000)
    done = await on_head(history)
    assert problems(done) == {"bundle_missing": 3}
    assert done.report is not None
    assert [policy["known"] for policy in done.report["policies"]] == [False]
    # What was recorded is still compared; only nobody can vouch for it.
    assert classes(done) == {"SAME": 3}


async def test_an_archive_that_lies_about_its_digest_is_built_again(history: Recorded) -> None:
    for archive in (history.settings.state_dir / "bundles" / "archives").glob("*.tar.gz"):
        files = read_archive(archive.read_bytes())
        allow = b'package aisecops.decision\n\ndecision := {"outcome": "ALLOW"}\n'
        archive.write_bytes(pack({**files, "aisecops/decision/decision.rego": allow}))
    done = await on_head(history)
    assert problems(done) == {}
    assert classes(done) == {"SAME": 2, "OUTCOME_FLIP": 1}


async def test_the_engine_version_that_decided_is_asked_or_missed(history: Recorded) -> None:
    newer = other_version(history.root / "newer" / "opa", "1.22.9")
    upgraded = Recorded(
        history.root,
        history.settings.model_copy(update={"engine_path": newer}),
        history.first,
        history.decided,
    )
    missed = await on_head(upgraded)
    assert problems(missed) == {"engine_version": 3}
    directory = history.settings.engine_dir
    kept = other_version(binary.home(directory) / "opa", "1.22.2")
    binary.write_lock(binary.examine(kept, source="tests"), binary.home(directory))
    async with open_replaying(upgraded) as replaying:
        again = await replayed(replaying, WantedPolicy(revision="main"), thoroughness=Thoroughness.EVERYTHING)
    assert problems(again) == {}


async def test_an_engine_is_replaced_with_the_policy_fixed(history: Recorded) -> None:
    newer = other_version(history.root / "newer" / "opa", "1.22.9")
    async with open_replaying(history, engine=newer) as replaying:
        name = replaying.given_engine
        done = await replayed(replaying, WantedPolicy(engine=name))
    assert name.startswith("1.22.9@")
    assert problems(done) == {}
    assert classes(done) == {"SAME": 3}
    assert done.progress.evaluated == 3
    assert done.question["candidate"]["engine"] == name  # type: ignore[index]
