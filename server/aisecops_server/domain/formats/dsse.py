"""DSSE: a payload with its type, and signatures over both.

The signature covers the type as well as the content, so what was signed as one kind of thing is never read as another.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.formats.json_fields import JsonFields, refusal
from aisecops_server.domain.formats.strict_json import parse_object

MOST_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature, and what its key is called; a name proves nothing."""

    key_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was read; nothing of it is verified."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def signed(self) -> bytes:
        """Return what its signatures are of."""
        return signed_bytes(self.payload_type, self.payload)


def signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: type and content, each with its length (DSSE's PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope_of(payload_type: str, payload: bytes, signatures: Sequence[Signature]) -> bytes:
    """Return the envelope as it travels."""
    return canonical_bytes(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [
                {"keyid": each.key_id, "sig": base64.b64encode(each.content).decode()} for each in signatures
            ],
        }
    )


def read_envelope(data: bytes, *, field: str, limit: int) -> Envelope:
    """Return the envelope that ``data`` spells.

    Raises:
        InvalidPlanError: it is none.
    """
    fields = JsonFields(parse_object(data, field=field, limit=limit), field)
    fields.allows("payloadType", "payload", "signatures")
    found = fields.objects("signatures")
    if not 0 < len(found) <= MOST_SIGNATURES:
        raise refusal(fields.field("signatures"), f"must be 1 to {MOST_SIGNATURES}")
    for each in found:
        each.allows("keyid", "sig")
    signatures = tuple(Signature(each.text("keyid"), _decoded(each, "sig")) for each in found)
    return Envelope(fields.text("payloadType"), _decoded(fields, "payload"), signatures)


def _decoded(fields: JsonFields, name: str) -> bytes:
    try:
        return base64.b64decode(fields.text(name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _no_base64(fields.field(name)) from error


def _no_base64(field: str) -> InvalidPlanError:
    return refusal(field, "must be base64")
