"""The queue in which decisions and screenings wait for their turn, composed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from aisecops_server.domain.agents.agent import UNREGISTERED, tenant_of
from aisecops_server.domain.callers.identity import PrincipalId
from aisecops_server.domain.errors import NoLiveRevisionError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tenants.fair_queue import FairQueue
from aisecops_server.entrypoints.grpc.admission import WorkQueue
from aisecops_server.settings import Settings


def work_queue(settings: Settings, tables: Callable[[], Mapping[str, JsonValue]]) -> WorkQueue:
    """Return the one queue of a control plane; whose agent a caller is stands in the ``tables`` that are live."""

    def tenant(caller: PrincipalId) -> str:
        try:
            return tenant_of(tables(), caller)
        except NoLiveRevisionError:
            return UNREGISTERED

    slots = max(1, min(settings.max_running, settings.max_in_flight // 2))
    return WorkQueue(FairQueue(slots, settings.max_in_flight, settings.patience_milliseconds / 1000), tenant)


def work_queues(settings: Settings, tenants: Iterable[str]) -> dict[str, WorkQueue]:
    """Return the one queue of a control plane as each of several tenants enters it: whoever comes in there is of it."""
    shared = work_queue(settings, dict)
    return {name: replace(shared, tenant_of=partial(_always, name)) for name in tenants}


def _always(tenant: str, _caller: PrincipalId) -> str:
    return tenant
