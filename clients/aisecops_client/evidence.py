"""Evidence packages: fetched whole, and checked for being the one that was made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import BinaryIO

import grpc
from aisecops.v1 import audit_service_pb2, evidence_service_pb2
from aisecops.v1.evidence_service_pb2_grpc import EvidenceServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import FaultError, from_rpc_error


def export_evidence(
    client: Client,
    target: BinaryIO,
    *,
    trace_ids: Sequence[str] = (),
    narrow: audit_service_pb2.TraceFilter | None = None,
) -> evidence_service_pb2.EvidenceSummary:
    """Write the package of traces to ``target`` and return what it is.

    Raises:
        AisecopsClientError: there is none, or what arrived is not what was made; throw away what was written.
    """
    request = evidence_service_pb2.ExportEvidenceRequest(trace_ids=trace_ids, filter=narrow)
    hashed = hashlib.sha256()
    summary = evidence_service_pb2.EvidenceSummary()
    try:
        parts = EvidenceServiceStub(client.channel).ExportEvidence(request, metadata=client.metadata)
        for part in parts:
            hashed.update(part.content)
            target.write(part.content)
            if part.HasField("summary"):
                summary = part.summary
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    if hashed.hexdigest() != summary.sha256:
        raise FaultError("the package did not arrive whole; export it again", grpc.StatusCode.DATA_LOSS)
    return summary
