"""At the centre: tells edges, signed, which bundle is live, and gives them its archive.

Ordering rules: the edge must be registered by the very policy that is released; a change of the live policy is in the
log with its counter before any edge is told; what is told is signed for the one who asks, now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.bundles.release import LastRelease, Release, SignedRelease, signed_message
from aisecops_server.domain.edges.edge import EdgeId, registered
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError, NoLiveRevisionError, NotFoundError
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.formats.identifiers import is_digest, is_identifier
from aisecops_server.domain.log.edge_log import ReleaseBundle, released_event
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids, Signer
from aisecops_server.ports.edges import EdgeStore
from aisecops_server.usecases.bundles.live_policy import Served

_NONCE_CHARACTERS = 16


@dataclass(slots=True)
class ReleaseBundles:
    """Releases the live bundle to edges. ``signer`` is the key that bundles are signed with."""

    live: Callable[[], Served | None]
    store: EdgeStore
    log: EventLog
    signer: Signer
    clock: Clock
    ids: Ids
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    _archive: tuple[str, bytes] = ("", b"")

    async def release(self, edge_id: str, nonce: str) -> SignedRelease:
        """Return the signed release of the live bundle to one edge.

        Raises:
            InvalidRequestError: the nonce is none.
            NoLiveRevisionError: nothing is live.
            NotPermittedError: the live policy does not register the edge.
            LogUnavailableError: a change of the live policy could not be recorded.
        """
        if not is_identifier(nonce) or len(nonce) < _NONCE_CHARACTERS:
            raise InvalidRequestError(
                f"nonce: must be {_NONCE_CHARACTERS} to 64 of [A-Za-z0-9_.:-]", hint="Use each once", field="nonce"
            )
        served = self._live()
        bundle = served.engine.bundle
        edge = registered(bundle.tables, edge_id)
        last = await self._released(bundle)
        now = self.clock.now_ns() // 1_000_000_000
        body = Release(
            edge_id=EdgeId(edge_id),
            nonce=nonce,
            counter=last.counter,
            commit=served.commit,
            digest=bundle.digest,
            archive_sha256=digest(await self._content(bundle)),
            issued_at_seconds=now,
            expires_at_seconds=now + edge.max_age_seconds,
            rules=bundle.rules,
            tools=bundle.tools,
        ).body()
        return SignedRelease(body, self.signer.sign(signed_message(body)))

    async def archive(self, edge_id: str, wanted: str) -> bytes:
        """Return the archive of the live bundle.

        Raises:
            InvalidRequestError, NotFoundError: ``wanted`` is no digest, or not that of the live bundle.
            NoLiveRevisionError, NotPermittedError: see ``release``.
            IntegrityError: the archive is gone.
        """
        if not is_digest(wanted):
            raise InvalidRequestError("digest: not 64 hexadecimal digits", hint="Send the release's", field="digest")
        bundle = self._live().engine.bundle
        registered(bundle.tables, edge_id)
        if wanted != bundle.digest:
            raise NotFoundError(
                "that bundle is not the live one", hint="Ask for a release first, and for the bundle it names"
            )
        return await self._content(bundle)

    def _live(self) -> Served:
        served = self.live()
        if served is None:
            raise NoLiveRevisionError("no policy revision is live, so none can be released")
        return served

    async def _released(self, bundle: Bundle) -> LastRelease:
        async with self._busy:
            last = await self.store.released()
            if last is not None and last.names(bundle):
                return last
            seen = last.counter if last else 0
            release = LastRelease(seen + 1, bundle.revision, bundle.digest)
            event = released_event(release, id=self.ids.event_id(), now_ns=self.clock.now_ns())
            await self.log.append_change(ChangeRecord((event,), (ReleaseBundle(seen, release),)))
            return release

    async def _content(self, bundle: Bundle) -> bytes:
        if self._archive[0] != bundle.digest:
            try:
                self._archive = (bundle.digest, await asyncio.to_thread(bundle.archive.read_bytes))
            except OSError as error:
                raise IntegrityError(
                    "the archive of the live bundle is gone", hint="Activate the commit again to build it anew"
                ) from error
        return self._archive[1]
