"""EvidenceService: streams evidence packages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from aisecops.v1 import evidence_service_pb2 as api

from aisecops_server.entrypoints.grpc.audit_service import trace_filter
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.usecases.evidence.export_evidence import EvidencePackage, EvidenceRequest, ExportEvidence

_PART_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EvidenceService:
    """The handlers of ``aisecops.v1.EvidenceService``."""

    export: ExportEvidence

    async def export_evidence(self, request: bytes, caller: Caller) -> AsyncIterator[api.ExportEvidenceResponse]:
        """Answer ExportEvidence."""
        asked = read_message(api.ExportEvidenceRequest, request)
        wanted = EvidenceRequest(
            tuple(asked.trace_ids), trace_filter(asked.filter) if asked.HasField("filter") else None
        )
        package = await self.export(wanted, principal=caller.principal)
        for at in range(0, len(package.content), _PART_BYTES):
            yield api.ExportEvidenceResponse(content=package.content[at : at + _PART_BYTES])
        yield api.ExportEvidenceResponse(summary=self._summary(package))

    def _summary(self, package: EvidencePackage) -> api.EvidenceSummary:
        return api.EvidenceSummary(
            sha256=package.sha256,
            size=len(package.content),
            traces=package.traces,
            events=package.events,
            log_index=package.receipt.log_index,
            evidence_key=package.key.hex(),
            log_key=self.export.publish.keys.public.text(),
        )
