"""Compliance of a policy that maps nothing: the real use case, which has nothing to find."""

from __future__ import annotations

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import NoLiveRevisionError
from aisecops_server.entrypoints.grpc.compliance_service import ComplianceUseCases
from aisecops_server.usecases.compliance.check_compliance import CheckCompliance

from tests.fakes.replays import NoPolicy


def nothing_live() -> Bundle:
    raise NoLiveRevisionError("no policy revision is live")


def no_compliance() -> ComplianceUseCases:
    """Return use cases that can be asked and have nothing."""
    check = CheckCompliance(
        policies=NoPolicy(),  # type: ignore[arg-type]
        scenarios=None,  # type: ignore[arg-type]
        parse=parse_yaml,
        checks={},
    )
    return ComplianceUseCases(check, nothing_live)
