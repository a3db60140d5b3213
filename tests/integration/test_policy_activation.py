"""Real commits, real bundles, real engines: what is pushed decides, and nothing that fails does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops_server.adapters.bundles.archive import pack, read_archive
from aisecops_server.adapters.bundles.builder import OpaBundleBuilder
from aisecops_server.adapters.git.mirror import GitRepository
from aisecops_server.adapters.opa.binary import examine
from aisecops_server.adapters.opa.pool import OpaEnginePool
from aisecops_server.adapters.opa.profile import Trust
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.documents.probe import probes
from aisecops_server.domain.errors import (
    AisecopsError,
    BundleRejectedError,
    NoLiveRevisionError,
    RepositoryUnavailableError,
)
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.usecases.bundles.activate import Activate, ActivateCommand, Order, PolicySwitch, Rollback
from aisecops_server.usecases.bundles.live_policy import LivePolicy
from aisecops_server.usecases.bundles.sync import Resume, Sync

from tests.fakes.policies import CountingIds, FakeActivationStore, FakeLog, FixedClock
from tests.scenes.planes.engines import until
from tests.scenes.policy.git_remotes import Remote
from tests.scenes.policy.policy_library import DECISION, POLICY, REPOSITORY, RULE, RULE_PATH, builder
from tests.support import opa_binary

pytestmark = pytest.mark.asyncio

ORDER = Order("ada", "test")
DECISION_PATH = "rego/aisecops/decision/decision.rego"


@dataclass
class Plane:
    live: LivePolicy
    switch: PolicySwitch
    sync: Sync
    resume: Resume
    rollback: Rollback
    log: FakeLog
    activate: Activate
    pool: OpaEnginePool

    async def outcome(self, agent: str) -> tuple[str, str]:
        """Decide one call by ``agent``: the outcome and the revision that gave it."""
        document = json.loads(probes()[0].document)
        document["principal"]["id"] = agent
        verdict = await self.live.current().evaluate(canonical_bytes(document), deadline_seconds=5.0)
        return verdict.result["outcome"], verdict.revision


def engines_of(state: Path) -> list[int]:
    """Return the processes that run in a run directory of this control plane, started early or not."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(state / "run"):
                found.append(int(process.name))
    return found


@asynccontextmanager
async def plane(
    remote: Path, state: Path, store: FakeActivationStore | None = None, made: OpaBundleBuilder | None = None
) -> AsyncIterator[Plane]:
    made = made or builder(state)
    repository = GitRepository(str(remote), mirror=state / "mirror.git", branch="main", fetch_timeout_seconds=20.0)
    pool = OpaEnginePool(
        engine=examine(opa_binary(), source="test"),
        trust=Trust(open_key(state / "keys", "bundle").public_pem),
        run_directory=state / "run",
    )
    log = FakeLog()
    live = LivePolicy(repository=repository, builder=made, pool=pool)
    switch = PolicySwitch(
        repository=repository,
        builder=made,
        pool=pool,
        log=log,
        store=store or FakeActivationStore(),
        live=live,
        clock=FixedClock(),
        ids=CountingIds(),
    )
    activate, resume = Activate(switch), Resume(switch)
    sync = Sync(switch, activate=activate, resume=resume)
    try:
        yield Plane(live, switch, sync, resume, Rollback(switch), log, activate, pool)
    finally:
        await pool.close()


async def test_what_is_pushed_decides_and_a_rollback_decides_at_once(tmp_path):
    remote = Remote.make(tmp_path / "remote", POLICY)
    first = remote.head()
    async with plane(remote.path, tmp_path / "state") as control:
        await control.sync()
        assert await control.outcome("support") == ("ALLOW", first)
        assert await control.outcome("nobody") == ("DENY", first)
        second = remote.commit({"data/agents.yaml": b"billing: {owner: team}\n"})
        await control.sync()
        assert await control.outcome("support") == ("DENY", second)
        assert await control.outcome("billing") == ("ALLOW", second)
        await control.rollback(ORDER)
        assert await control.outcome("support") == ("ALLOW", first)


async def test_no_decision_is_lost_while_revisions_change(tmp_path):
    remote = Remote.make(tmp_path / "remote", POLICY)
    revisions = [remote.head()]
    async with plane(remote.path, tmp_path / "state") as control:
        await control.sync()
        answers: list[tuple[str, str]] = []
        done = asyncio.Event()

        async def decide() -> None:
            while not done.is_set():
                answers.append(await control.outcome("support"))

        deciders = [asyncio.ensure_future(decide()) for _ in range(4)]
        for number in range(3):
            revisions.append(remote.commit({"data/agents.yaml": b"support: {owner: team%d}\n" % number}))
            await control.sync()
        await control.rollback(ORDER)
        done.set()
        await asyncio.gather(*deciders)  # raises what any of them raised
    assert {outcome for outcome, _ in answers} == {"ALLOW"}
    order = [revisions.index(revision) for _, revision in answers]
    assert {0, 1, 2, 3} >= set(order)
    assert len(set(order)) > 1


REFUSED = {
    "broken Rego": ({RULE_PATH: b"package aisecops.rules.identity.unknown_agent\n\nx if {\n"}, f"{RULE_PATH}:4"),
    "the network": (
        {RULE_PATH: RULE + b'\nx := http.send({"method": "get", "url": "x"})\n'},
        "undefined function http.send",
    ),
    "the clock": ({RULE_PATH: RULE + b"\nx := time.now_ns()\n"}, "undefined function time.now_ns"),
    "the environment": ({RULE_PATH: RULE + b"\nx := opa.runtime()\n"}, "undefined function opa.runtime"),
    "an open gate": (
        {DECISION_PATH: DECISION.replace(b"if data.tables.agents[input.principal.id]", b":= true")},
        "only DENY is right",
    ),
    "a decision that is undefined": (
        {DECISION_PATH: b"package aisecops.decision\n\ndecision := 1 if input.never\n"},
        "not a decision",
    ),
    "a decision that conflicts": (
        {DECISION_PATH: b"package aisecops.decision\n\ndecision := x if some x in [1, 2]\n"},
        "the probe",
    ),
    "its own engine authorization": (
        {"rego/aisecops/x.rego": b"package system.authz\n\nallow := true\n"},
        "not the policy",
    ),
    "a link": (None, "a symbolic link is not allowed"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_head_that_is_not_fit_is_refused_by_name_and_the_last_good_one_decides(tmp_path, what):
    changes, why = REFUSED[what]
    remote = Remote.make(tmp_path / "remote", POLICY)
    good = remote.head()
    async with plane(remote.path, tmp_path / "state") as control:
        await control.sync()
        if changes is None:
            (remote.path / "rego" / "link.rego").symlink_to("/etc/passwd")
        bad = remote.commit(changes or {})
        with pytest.raises(BundleRejectedError) as refused:
            await control.sync()
        assert why in refused.value.message
        assert await control.outcome("support") == ("ALLOW", good)
        status = control.live.status()
        assert (status.wanted, status.live.commit.id) == (bad, good)
        assert why in status.problem
        assert control.log.told()[-1] == ("bundle.rejected", int(bad, 16), "control-plane")
        await until(lambda: set(engines_of(tmp_path / "state")) == {each.pid for each in control.pool.processes()})
        mended = remote.commit(POLICY) if changes else None
        if mended:
            (remote.path / "rego/aisecops/x.rego").unlink(missing_ok=True)
            mended = remote.commit({})
            await control.sync()
            assert await control.outcome("support") == ("ALLOW", mended)


async def test_rewritten_history_decides_only_after_a_person_said_so(tmp_path):
    remote = Remote.make(tmp_path / "remote", POLICY)
    good = remote.commit({"data/agents.yaml": b"support: {owner: a}\n"})
    async with plane(remote.path, tmp_path / "state") as control:
        await control.sync()
        remote.git("reset", "--quiet", "--hard", "HEAD~1")
        rewritten = remote.commit({"data/agents.yaml": b"evil: {owner: a}\n"})
        with pytest.raises(BundleRejectedError, match="rewritten"):
            await control.sync()
        assert await control.outcome("evil") == ("DENY", good)
        await control.activate(ActivateCommand(rewritten, ORDER))
        assert await control.outcome("evil") == ("ALLOW", rewritten)


async def test_a_restart_without_the_remote_serves_the_last_good_revision(tmp_path):
    remote = Remote.make(tmp_path / "remote", POLICY)
    good, store = remote.head(), FakeActivationStore()
    async with plane(remote.path, tmp_path / "state", store) as control:
        await control.sync()
    remote.path.rename(tmp_path / "gone")
    async with plane(remote.path, tmp_path / "state", store) as control:
        await control.resume()
        assert await control.outcome("support") == ("ALLOW", good)
        with pytest.raises(RepositoryUnavailableError):
            await control.sync()
        assert await control.outcome("support") == ("ALLOW", good)
        assert "cannot be read" in control.live.status().problem


@pytest.mark.parametrize("mirror", ["there", "gone"])
async def test_a_restart_never_serves_a_bundle_that_was_changed_on_disk(tmp_path, mirror):
    remote = Remote.make(tmp_path / "remote", POLICY)
    good, store, state = remote.head(), FakeActivationStore(), tmp_path / "state"
    async with plane(remote.path, state, store) as control:
        await control.sync()
        archive = control.live.current().bundle.archive
    files = read_archive(archive.read_bytes())
    opened = DECISION.replace(b"if data.tables.agents[input.principal.id]", b":= true")
    archive.write_bytes(pack({**files, "aisecops/decision/decision.rego": opened}))
    remote.path.rename(tmp_path / "gone")
    if mirror == "gone":
        (state / "mirror.git").rename(tmp_path / "mirror-gone")
    async with plane(remote.path, state, store) as control:
        if mirror == "gone":
            with pytest.raises(AisecopsError):
                await control.resume()
            with pytest.raises(NoLiveRevisionError):
                control.live.current()
        else:
            await control.resume()
            assert await control.outcome("nobody") == ("DENY", good)


async def test_a_bundle_changed_between_our_check_and_the_engines_start_is_refused_by_the_engine(tmp_path):
    remote = Remote.make(tmp_path / "remote", POLICY)
    async with plane(remote.path, tmp_path / "state") as control:
        await control.sync()
        made = builder(tmp_path / "other")
        bundle = await made.build(await control.switch.repository.tree(CommitId(remote.head())))
        with pytest.raises(AisecopsError):  # signed by another key than the one that the engine trusts
            await control.switch.pool.acquire(type(bundle)(bundle.revision, "other", bundle.archive, ()))


async def test_the_policy_that_ships_becomes_live(tmp_path):
    files = {
        **{f"rego/{path}": content for path, content in _files(REPOSITORY / "rego").items()},
        **_files(REPOSITORY / "bundles" / "default"),
    }
    remote = Remote.make(tmp_path / "remote", files)
    state = tmp_path / "state"
    real = builder(state, library_directory=REPOSITORY / "rego", compile_tables=compile_tables)
    async with plane(remote.path, state, made=real) as control:
        await control.sync()
        bundle = control.live.current().bundle
        assert len(bundle.rules) >= 20
        assert bundle.tools
        for rule in bundle.rules:
            line = files[rule.file].decode().splitlines()[rule.line - 1]
            assert line == f"package aisecops.rules.{rule.rule}"
        assert (await control.outcome("nobody"))[0] == "DENY"


def _files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
