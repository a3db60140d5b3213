"""Asks a witness over HTTP, as C2SP `tlog-witness` describes it.

An answer counts when it carries the witness's own signature; a refusal cannot be signed, so whoever stands between
could forge one and thereby seal the log. That is why only https and loopback addresses are accepted.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.domain.formats.signed_note import Note, NoteKey, NoteSignature, read_key, read_signatures
from aisecops_server.domain.log.witnessing import Behind, Refused, Silent, WitnessAnswer

SIZE_TYPE = "text/x.tlog.size"
_SECONDS = 5.0
_MOST_BYTES = 64 * 1024
_OK, _CONFLICT, _UNPROCESSABLE = 200, 409, 422


@dataclass(frozen=True, slots=True)
class HttpWitness:
    """Implements ``Witness``."""

    url: str
    public: NoteKey

    @property
    def key(self) -> NoteKey:
        """Return the key that it signs with."""
        return self.public

    async def cosign(self, note: Note, *, old_size: int, proof: Sequence[bytes]) -> WitnessAnswer:
        """Return its signature, or why there is none."""
        lines = [f"old {old_size}", *(base64.b64encode(node).decode() for node in proof)]
        answered = await self._post("add-checkpoint", "\n".join(lines) + "\n\n" + note.written())
        if isinstance(answered, Silent):
            return answered
        status, kind, text = answered
        if status == _OK:
            return self._signature(text)
        if status == _CONFLICT and kind == SIZE_TYPE and text.strip().isdigit():
            return Behind(int(text.strip()))
        if status in {_CONFLICT, _UNPROCESSABLE}:
            return Refused(f"it does not accept that the log grew from {old_size} events")
        return Silent(f"it answered with status {status}; is the log's key known to it?")

    async def introduce(self, rotations: Sequence[str]) -> None:
        """Tell it by which keys the one that it knows was followed; others than ours have to be told by hand."""
        for written in rotations:
            await self._post("add-key", written)

    async def _post(self, call: str, body: str) -> tuple[int, str, str] | Silent:
        import aiohttp  # noqa: PLC0415 - costly, and only needed here

        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS), trust_env=False) as session,
                session.post(f"{self.url}/{call}", data=body.encode(), allow_redirects=False) as answer,
            ):
                content = await answer.content.read(_MOST_BYTES)
                return answer.status, answer.content_type, content.decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Silent(f"it cannot be reached ({type(error).__name__})")

    def _signature(self, text: str) -> NoteSignature | Silent:
        try:
            found = read_signatures(text)
        except AisecopsError:
            return Silent("its answer is no signature")
        for signature in found:
            if (signature.name, signature.key_id) == (self.public.name, self.public.id):
                return signature
        return Silent("its answer is not signed with the key that is set for it")


def read_witness(text: str) -> HttpWitness:
    """Return the witness that ``text`` (``URL KEY``) names.

    Raises:
        InvalidRequestError: the URL is neither https nor of this machine, or the key is none.
    """
    url, _, key = text.strip().partition(" ")
    parts = urlsplit(url)
    try:
        public = read_key(key)
    except AisecopsError as error:
        raise _unusable(text, error.message) from error
    is_plain_and_near = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or is_plain_and_near):
        raise _unusable(text, "its URL is neither https nor http on a loopback address")
    return HttpWitness(url.rstrip("/"), public)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unusable(text: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the witness {text[:80]!r} cannot be used: {why}",
        hint="Write 'URL KEY', the key as 'aisecops witness key' prints it",
        field="witnesses",
    )
