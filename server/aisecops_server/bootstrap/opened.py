"""The composition root of the UI over an evidence package: no log, no state directory, no engine, no way out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aisecops_server.adapters.evidence.package_log import PackageLog
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.callers.identity import Presented, Principal, PrincipalId, Role
from aisecops_server.domain.errors import InvalidRequestError, UnauthenticatedError
from aisecops_server.entrypoints.grpc.doors import only
from aisecops_server.entrypoints.grpc.local_calls import LocalCalls
from aisecops_server.entrypoints.grpc.methods import Gate
from aisecops_server.entrypoints.grpc.package_services import offer
from aisecops_server.entrypoints.grpc.server import is_loopback
from aisecops_server.usecases.evidence.investigate import Investigate


@dataclass(frozen=True, slots=True)
class OneReader:
    """Implements ``Authenticator``: whoever was given the link is the reader, and nobody else is anybody."""

    token: str

    def authenticate(self, presented: Presented) -> Principal:
        """Return the reader."""
        if not self.token or presented.token != self.token:
            raise UnauthenticatedError("this link was not made for this package", hint="Open the package again")
        return Principal(PrincipalId("reader@localhost"), "link", frozenset({Role.AUDITOR}), "reader")


@contextlib.asynccontextmanager
async def package_ui(log: PackageLog, name: str, *, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serve the pages of a package while the block runs; gives the link that opens them.

    Raises:
        InvalidRequestError: the address is not of this machine, or cannot be listened on.
    """
    from aisecops_server.entrypoints.web.app import Ui, application  # noqa: PLC0415
    from aisecops_server.entrypoints.web.listener import WebListening, listening  # noqa: PLC0415
    from aisecops_server.entrypoints.web.package_page import (  # noqa: PLC0415
        OpenedPackage,
        package_bar,
        package_screens,
    )
    from aisecops_server.entrypoints.web.sessions import Sessions  # noqa: PLC0415

    if not is_loopback(address):
        raise InvalidRequestError(
            f"{address} is beyond this machine", hint="A package is opened on 127.0.0.1", field="address"
        )
    ids = RandomIds()
    code, token = ids.nonce(), ids.nonce()
    gate = Gate(OneReader(token), lambda _refusal: None)
    offer(gate, log, Investigate(log, json.loads), proofs=log.proofs, policies=log.policies)
    facts = log.facts
    package = OpenedPackage(name, facts.sha256, facts.manifest, facts.checks, facts.remarks)
    ui = Ui(
        calls=LocalCalls(only(gate)),
        sessions=Sessions(ids),
        take_link=lambda given: token if given == code else "",
        bar=package_bar(package),
        screens=package_screens(package),
    )
    async with listening(application(ui), WebListening(address)) as served:
        yield f"http://{served}/sign-in?code={code}&next=/"
