"""Who makes a call, and what answers it, before anything of gRPC is wrapped around."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Presented, Principal
from aisecops_server.domain.formats.trace_parent import NOWHERE, TraceParent


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, by what it presented, and the time left for it."""

    principal: Principal
    presented: Presented
    seconds: float
    call: str
    peer: str = ""
    parent: TraceParent = NOWHERE
    tenant: str = DEFAULT_TENANT


UnaryHandler = Callable[[bytes, Caller], Awaitable[Message]]
StreamHandler = Callable[[bytes, Caller], AsyncIterator[Message]]
SessionHandler = Callable[[AsyncIterator[bytes], Caller], AsyncIterator[Message]]
