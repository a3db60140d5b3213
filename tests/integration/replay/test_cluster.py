"""Replays on a cluster of real processes: the same bytes, whoever dies meanwhile, and nobody gets in."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aisecops_server.adapters.identity.cluster_folder import make_cluster
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.cluster import parts_of
from aisecops_server.bootstrap.replay import Replaying, replaying
from aisecops_server.domain.errors import EngineUnavailableError, InvalidRequestError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.replays.replay import ReplayRecord, ReplayState, Selection
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from aisecops_server.usecases.replays.run_replays import ReplayCommand

from tests.scenes.planes.clusters import Cluster, cluster_of
from tests.scenes.planes.engines import until
from tests.scenes.replays.replays import Recorded, copy_of, open_replaying, record, replayed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="the extra 'cluster' (Dask distributed) is not installed"
)
ONLY = ("answer-ticket", "refund-lost-parcel", "release")
MAIN = WantedPolicy(revision="main")


@asynccontextmanager
async def replaying_on(cluster: Cluster, recorded: Recorded) -> AsyncIterator[Replaying]:
    settings = cluster.settings(recorded.settings)
    async with parts_of(settings) as parts, replaying(settings, part_decisions=2, cluster=parts) as made:
        yield made


async def alone(recorded: Recorded, root: Path, wanted: WantedPolicy = MAIN) -> ReplayRecord:
    async with open_replaying(copy_of(recorded, root), part_decisions=2) as made:
        return await replayed(made, wanted)


@pytest_asyncio.fixture
async def recorded(tmp_path: Path) -> Recorded:
    made = await record(tmp_path / "r", times=4, only=ONLY)
    made.edit_limits()
    return made


@pytest.mark.asyncio
async def test_a_cluster_reports_what_one_machine_reports_byte_by_byte(tmp_path: Path, recorded: Recorded) -> None:
    changed = WantedPolicy(revision="main", changes=("approvals.tools.crm/issue_refund.amount_over=1",))
    async with cluster_of(tmp_path / "c", recorded) as cluster:
        await cluster.scheduler()
        await cluster.worker("worker-1")
        async with replaying_on(cluster, recorded) as made:
            found = [await replayed(made, wanted) for wanted in (MAIN, changed)]
    here = [await alone(recorded, tmp_path / "a", MAIN), await alone(recorded, tmp_path / "b", changed)]
    assert [record.state for record in found] == [ReplayState.DONE, ReplayState.DONE]
    assert [canonical_bytes(record.report) for record in found] == [canonical_bytes(record.report) for record in here]
    assert found[0].report != found[1].report


@pytest.mark.asyncio
async def test_killed_workers_and_a_killed_scheduler_change_nothing(tmp_path: Path, recorded: Recorded) -> None:
    async with cluster_of(tmp_path / "c", recorded) as cluster:
        await cluster.scheduler()
        await cluster.worker("worker-1")
        await cluster.worker("worker-2")
        losses = [lambda: cluster.kill("worker-1"), lambda: restart_scheduler(cluster)]
        async with replaying_on(cluster, recorded) as made:
            started = await made.runs.start(ReplayCommand(Selection(), MAIN, "tester"))
            async for seen in made.runs.watch(started.id):
                if seen.progress.done and losses:
                    await losses.pop(0)()
            done = await made.reads.one(started.id)
    assert losses == []
    assert done.state is ReplayState.DONE, done.problem
    assert canonical_bytes(done.report) == canonical_bytes((await alone(recorded, tmp_path / "a")).report)


@pytest.mark.asyncio
async def test_a_connection_that_cannot_come_back_is_replaced_and_fails_nobody(
    tmp_path: Path, recorded: Recorded
) -> None:
    from aisecops_server.adapters.cluster.dask_parts import DaskParts  # noqa: PLC0415

    changed = WantedPolicy(revision="main", changes=("approvals.tools.crm/issue_refund.amount_over=1",))
    async with cluster_of(tmp_path / "c", recorded) as cluster:
        await cluster.scheduler()
        await cluster.worker("worker-1")
        settings = cluster.settings(recorded.settings)
        async with parts_of(settings) as parts, replaying(settings, part_decisions=2, cluster=parts) as made:
            found = [await replayed(made, MAIN)]
            assert isinstance(parts, DaskParts)
            await (await parts.client()).rpc.close()
            await restart_scheduler(cluster)
            found.append(await replayed(made, changed))
            await (await parts.client()).rpc.close()
            await cluster.kill("scheduler")
    assert [(record.state, record.problem) for record in found] == [(ReplayState.DONE, "")] * 2


@pytest.mark.asyncio
async def test_what_a_lost_scheduler_cancelled_is_asked_again_under_another_name(
    tmp_path: Path, recorded: Recorded
) -> None:
    from aisecops_server.adapters.cluster.dask_parts import DaskParts  # noqa: PLC0415

    async with cluster_of(tmp_path / "c", recorded) as cluster:
        await cluster.scheduler()
        settings = cluster.settings(recorded.settings)
        async with parts_of(settings) as parts, replaying(settings, part_decisions=2, cluster=parts) as made:
            assert isinstance(parts, DaskParts)
            started = await made.runs.start(ReplayCommand(Selection(), MAIN, "tester"))
            client = await parts.client()
            await until(lambda: bool(client.futures))
            asked = dict(client.futures)
            for state in asked.values():
                state.cancel()
            await until(lambda: bool(client.futures) and not client.futures.keys() & asked.keys())
            await cluster.worker("worker-1")
            async for _ in made.runs.watch(started.id):
                pass
            done = await made.reads.one(started.id)
    assert (done.state, done.problem) == (ReplayState.DONE, "")


async def restart_scheduler(cluster: Cluster) -> None:
    await cluster.kill("scheduler")
    await cluster.scheduler()


@pytest.mark.asyncio
async def test_a_worker_with_another_history_judges_nothing(tmp_path: Path, recorded: Recorded) -> None:
    other = await record(tmp_path / "o", times=4, only=ONLY)
    async with cluster_of(tmp_path / "c", recorded) as cluster:
        await cluster.scheduler()
        await cluster.worker("worker-1", log=other.settings.state_dir)
        async with replaying_on(cluster, recorded) as made:
            done = await replayed(made, MAIN)
    assert done.state is ReplayState.FAILED
    assert "other decisions stand here than in the history that is replayed" in done.problem


@pytest.mark.asyncio
async def test_who_has_no_key_of_the_cluster_is_no_member(tmp_path: Path, recorded: Recorded) -> None:
    from aisecops_server.adapters.cluster.dask_parts import DaskParts, security  # noqa: PLC0415
    from aisecops_server.adapters.cluster.keys import ClusterKeys  # noqa: PLC0415
    from aisecops_server.entrypoints.cluster.worker import judge_part  # noqa: PLC0415

    async with cluster_of(tmp_path / "c", recorded) as cluster:
        await cluster.scheduler()
        host, port = cluster.address.split(":")
        make_cluster(tmp_path / "x", ["replay"], scheduler=cluster.address, hours=1, clock=SystemClock())
        foreign = ClusterKeys(
            cluster.root / "ca.pem", tmp_path / "x" / "node" / "replay.pem", tmp_path / "x" / "node" / "replay.key"
        )
        parts = DaskParts(f"tls://{cluster.address}", security(foreign), judge_part, patience_seconds=0)
        async with replaying(recorded.settings, part_decisions=2, cluster=parts) as made:
            done = await replayed(made, MAIN)
        assert (done.state, done.reason) == (ReplayState.FAILED, EngineUnavailableError.reason)
        context = ssl.create_default_context(cafile=str(cluster.root / "ca.pem"))
        context.check_hostname = False
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cluster_key": None}, "not all of its keys are named"),
        ({"cluster_certificate": Path("/nowhere.pem")}, "there is no such file"),
    ],
)
@pytest.mark.asyncio
async def test_a_cluster_without_its_keys_is_not_used(
    tmp_path: Path, recorded: Recorded, change: dict[str, Path | None], told: str
) -> None:
    settings = Cluster(tmp_path / "c", recorded).settings(recorded.settings).model_copy(update=change)
    with pytest.raises(InvalidRequestError, match=told):
        async with parts_of(settings):
            pytest.fail("it is used")


@pytest.mark.asyncio
async def test_the_authority_of_agents_is_none_of_a_cluster(tmp_path: Path, recorded: Recorded) -> None:
    settings = Cluster(tmp_path / "c", recorded).settings(recorded.settings)
    shared = settings.model_copy(update={"tls_client_ca": settings.cluster_ca})
    with pytest.raises(InvalidRequestError, match="any agent could run programs in it"):
        async with parts_of(shared):
            pytest.fail("it is used")
