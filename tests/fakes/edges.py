"""A centre without edges."""

from __future__ import annotations

from aisecops_server.adapters.signing.grants import key_set_of
from aisecops_server.adapters.signing.keys import SigningKey, verifies_ed25519
from aisecops_server.domain.bundles.bundle import Commit
from aisecops_server.domain.bundles.release import LastRelease
from aisecops_server.domain.log.edge_log import EdgeLog
from aisecops_server.entrypoints.grpc.edge_service import EdgeUseCases
from aisecops_server.ports import Clock, EventLog, Ids, PolicyEngine
from aisecops_server.usecases.bundles.live_policy import Served
from aisecops_server.usecases.edges.reconcile_edges import ReconcileEdges
from aisecops_server.usecases.edges.release_bundle import ReleaseBundles
from aisecops_server.usecases.grants.raise_incident import RaiseIncident


class NoEdges:
    """Knows no edge."""

    async def edge(self, edge_id: str) -> EdgeLog | None:
        return None

    async def edges(self) -> list[EdgeLog]:
        return []

    async def released(self) -> LastRelease | None:
        return None


def no_edges(
    engine: PolicyEngine, commit: Commit, signer: SigningKey, *, log: EventLog, clock: Clock, ids: Ids
) -> EdgeUseCases:
    """Return what a centre offers to edges, of which there are none."""
    store = NoEdges()
    return EdgeUseCases(
        ReleaseBundles(lambda: Served(commit, engine), store, log, signer, clock, ids),
        ReconcileEdges(
            log,
            store,
            lambda: engine.bundle.tables,
            verifies_ed25519,
            clock,
            ids,
            RaiseIncident(log, clock, ids),
            key_set_of,
        ),
    )
