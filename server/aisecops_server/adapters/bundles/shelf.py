"""At an edge: archives of bundles that the centre released, named by their digest and checked whenever they are taken.

What is believed is the release, which the centre signed: the archive must be the bytes that it names, with the content
and the revision that it names. The engine verifies the signature inside of it once more before it serves.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

from aisecops_server.adapters.bundles.archive import MAX_ARCHIVE_BYTES, bundle_digest, read_archive
from aisecops_server.adapters.bundles.layout import DATA, MANIFEST
from aisecops_server.adapters.bundles.store import write_durably
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.bundles.release import Release
from aisecops_server.domain.errors import BundleRejectedError, IntegrityError

MOST_BYTES = MAX_ARCHIVE_BYTES


class BundleShelf:
    """Implements ``BundleShelf`` over a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()

    async def put(self, release: Release, archive: bytes) -> Bundle:
        """Keep an archive and return its bundle.

        Raises:
            BundleRejectedError: it is not the one that ``release`` names.
            IntegrityError: it cannot be kept.
        """
        return await asyncio.to_thread(self._put, release, archive)

    async def get(self, release: Release) -> Bundle | None:
        """Return the bundle that ``release`` names, if its archive is there and sound."""
        return await asyncio.to_thread(self._get, release)

    def _put(self, release: Release, archive: bytes) -> Bundle:
        bundle = self._bundle(release, archive)
        write_durably(bundle.archive, archive)
        return bundle

    def _get(self, release: Release) -> Bundle | None:
        try:
            with self._place(release).open("rb") as stream:
                return self._bundle(release, stream.read(MOST_BYTES + 1))
        except (OSError, BundleRejectedError):
            # It is asked for anew.
            return None

    def _place(self, release: Release) -> Path:
        return self._directory / f"{release.digest}.tar.gz"

    def _bundle(self, release: Release, archive: bytes) -> Bundle:
        if hashlib.sha256(archive).hexdigest() != release.archive_sha256:
            raise _other("its bytes are others")
        try:
            files = read_archive(archive)
            manifest, data = json.loads(files[MANIFEST]), json.loads(files[DATA])
        except (IntegrityError, KeyError, ValueError, RecursionError) as error:
            raise _other("it cannot be read") from error
        if bundle_digest(files) != release.digest or manifest.get("revision") != release.commit.id:
            raise _other("its content or its revision is another")
        return Bundle(
            release.commit.id,
            release.digest,
            self._place(release),
            release.rules,
            release.tools,
            data["tables"],
        )


def _other(why: str) -> BundleRejectedError:
    return BundleRejectedError(
        f"the archive is not the one that the centre released: {why}",
        hint="The last good policy stays. Ask who runs the centre, or what stands between",
    )
