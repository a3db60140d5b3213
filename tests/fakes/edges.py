"""A centre without edges."""

from __future__ import annotations

from aisecops_server.adapters.signing.grants import key_set_of
from aisecops_server.adapters.signing.keys import SigningKey, verifies_ed25519
from aisecops_server.domain.bundle import Commit
from aisecops_server.domain.edge_log import EdgeLog
from aisecops_server.domain.release import LastRelease
from aisecops_server.entrypoints.grpc.edge_service import EdgeUseCases
from aisecops_server.ports import Clock, EventLog, Ids, PolicyEngine
from aisecops_server.usecases.live_policy import Served
from aisecops_server.usecases.raise_incident import RaiseIncident
from aisecops_server.usecases.reconcile_edges import ReconcileEdges
from aisecops_server.usecases.release_bundle import ReleaseBundles


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
