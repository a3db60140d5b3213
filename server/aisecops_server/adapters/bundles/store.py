"""Built bundles on disk: archives named by their digest, and one signed record for each revision.

Owns ``state_dir/bundles``. An archive is believed only when its record carries our signature and the archive's bytes
and recomputed digest are those of the record; anything else counts as not stored and is built again. Archives are
never overwritten with other content, because their name is their content.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from aisecops_server.adapters.bundles.archive import MAX_ARCHIVE_BYTES, bundle_digest, read_archive
from aisecops_server.adapters.bundles.layout import DATA, MANIFEST
from aisecops_server.domain.bundles.bundle import Bundle, BundleDigest, CommitId, RuleDoc
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.ports import Signer

_CONTEXT = b"aisecops bundle record v1\n"
_REVISION = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_logger = logging.getLogger(__name__)


class BundleStore:
    """Bundles by revision."""

    def __init__(self, directory: Path, signer: Signer) -> None:
        self._directory = directory
        self._signer = signer

    @property
    def work(self) -> Path:
        """Return the private directory for builds under way, making it."""
        work = self._directory / "work"
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        return work

    def load(self, revision: CommitId, *, library: str) -> Bundle | None:
        """Return the bundle of ``revision`` that was built with ``library``, if it is there and verifies."""
        try:
            record = self._record(revision)
            return self._bundle(record, revision) if record and record.get("library") == library else None
        except IntegrityError as error:
            _logger.warning("stored bundle of %s is not served: %s", revision, error.message)
            return None

    def exact(self, revision: CommitId, digest: str) -> Bundle | None:
        """Return the bundle of ``revision`` with ``digest``, whatever it was built with, if it is there and sound.

        The digest is recomputed from the content, and the engine checks the signature inside before it serves.
        """
        if not _DIGEST.fullmatch(digest):
            return None
        try:
            content = _content(self._archive(digest))
            files = read_archive(content) if content is not None else {}
            if bundle_digest(files) != digest or _revision(files) != revision:
                return None
            record = self._record(revision)
        except IntegrityError as error:
            _logger.warning("stored bundle %s is not used: %s", digest, error.message)
            return None
        own = record if record and record.get("digest") == digest else {}
        rules, tools = _rules(own.get("rules")), _tools(own.get("tools"))
        return Bundle(revision, BundleDigest(digest), self._archive(digest), rules, tools, _tables(files))

    def save(self, bundle: Bundle, content: bytes, *, library: str) -> Bundle:
        """Store an archive and its record, durably; the returned bundle points into the store."""
        archive = self._archive(bundle.digest)
        record: dict[str, JsonValue] = {
            "revision": bundle.revision,
            "digest": bundle.digest,
            "archive_sha256": hashlib.sha256(content).hexdigest(),
            "library": library,
            "rules": [asdict(rule) for rule in bundle.rules],
            "tools": list(bundle.tools),
        }
        signature = self._signer.sign(_CONTEXT + canonical_bytes(record))
        signed = canonical_bytes({"record": record, "signature": base64.b64encode(signature).decode("ascii")})
        write_durably(archive, content)
        write_durably(self._index(bundle.revision), signed)
        return replace(bundle, archive=archive)

    def _record(self, revision: CommitId) -> Mapping[str, JsonValue] | None:
        if not _REVISION.fullmatch(revision):
            return None
        try:
            signed = json.loads(self._index(revision).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise IntegrityError("its record cannot be read") from error
        return self._verified(signed)

    def _verified(self, signed: JsonValue) -> Mapping[str, JsonValue]:
        try:
            if not isinstance(signed, dict) or not isinstance(signed["record"], dict):
                raise IntegrityError("its record is not a record")
            record: Mapping[str, JsonValue] = signed["record"]
            signature = base64.b64decode(str(signed["signature"]), validate=True)
            message = _CONTEXT + canonical_bytes(record)
        except (KeyError, ValueError, binascii.Error) as error:
            raise IntegrityError("its record is not a record") from error
        if not self._signer.verifies(message, signature):
            raise IntegrityError("its record was not signed by us")
        return record

    def _bundle(self, record: Mapping[str, JsonValue], revision: CommitId) -> Bundle:
        digest = str(record["digest"])
        archive = self._archive(digest)
        content = _content(archive)
        if content is None:
            raise IntegrityError("its archive is gone")
        files = read_archive(content)
        found = bundle_digest(files)
        same_bytes = hashlib.sha256(content).hexdigest() == record["archive_sha256"]
        if not same_bytes or found != digest or record["revision"] != revision:
            raise IntegrityError("its archive is not the one that was stored")
        rules, tools = _rules(record.get("rules")), _tools(record.get("tools"))
        return Bundle(revision, found, archive, rules, tools, _tables(files))

    def _archive(self, digest: str) -> Path:
        return self._directory / "archives" / f"{digest}.tar.gz"

    def _index(self, revision: str) -> Path:
        return self._directory / "revisions" / f"{revision}.json"


def _content(archive: Path) -> bytes | None:
    try:
        with archive.open("rb") as stream:
            return stream.read(MAX_ARCHIVE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IntegrityError("its archive cannot be read") from error


def _revision(files: Mapping[str, bytes]) -> str:
    try:
        manifest = json.loads(files.get(MANIFEST, b"{}"))
    except (ValueError, RecursionError) as error:
        raise IntegrityError("its manifest cannot be read") from error
    return str(manifest.get("revision", "")) if isinstance(manifest, dict) else ""


def _rules(value: JsonValue) -> tuple[RuleDoc, ...]:
    return tuple(RuleDoc(**rule) for rule in value if isinstance(rule, dict)) if isinstance(value, list) else ()


def _tools(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(tool) for tool in value) if isinstance(value, list) else ()


def _tables(files: Mapping[str, bytes]) -> Mapping[str, JsonValue]:
    # The archive's digest was checked, so this is what we once wrote.
    tables = json.loads(files[DATA])["tables"] if DATA in files else {}
    return tables if isinstance(tables, dict) else {}


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file at once: after a crash it is the old or the new one, whole.

    Raises:
        IntegrityError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, content)
        _sync_directory(path.parent)
    except OSError as error:
        raise IntegrityError(
            f"{path} cannot be written: {error.strerror}", hint="Make room and make the state directory writable"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
