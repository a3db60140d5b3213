"""The archive of a bundle: packed, read again byte by byte, named by a digest; and what its Rego says of itself.

Archives are packed here and not by ``opa build``, which reformats Rego: the lines in an explanation are then those
of the policy repository. The engine's own tools load a changed bundle without a word, so the digest that names a
bundle is always recomputed from the archive.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

from aisecops_server.adapters.bundles.layout import DATA, SIGNATURES, content_digest
from aisecops_server.domain.bundles.bundle import BundleDigest, RuleDoc
from aisecops_server.domain.errors import BundleRejectedError, IntegrityError

MAX_ARCHIVE_BYTES = 64 * 1024 * 1024
MAX_CONTENT_BYTES = 128 * 1024 * 1024

# A sixth of the time that the highest level takes, for a fifth more bytes.
_LEVEL = 1
_RULES = ("aisecops", "rules")


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of ``files``: sorted, without times and owners, so that same files give same bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files):
            member = tarfile.TarInfo(f"/{path}")
            member.size, member.mode = len(files[path]), 0o600
            tar.addfile(member, io.BytesIO(files[path]))
    return gzip.compress(raw.getvalue(), _LEVEL, mtime=0)


def read_archive(archive: bytes) -> dict[str, bytes]:
    """Return the files of a bundle by path.

    Raises:
        IntegrityError: it is not a bundle: not a gzipped tar, too large, or with entries that no bundle has.
    """
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(archive)).read(MAX_CONTENT_BYTES + 1)
        if len(content) > MAX_CONTENT_BYTES:
            raise _damaged("it is too large")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            return _files(tar)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise _damaged("it is not a gzipped tar file") from error


def bundle_digest(files: Mapping[str, bytes]) -> BundleDigest:
    """Return the identity of a bundle: the digest of its files without the signature."""
    return BundleDigest(content_digest({path: files[path] for path in files if path != SIGNATURES}))


def require_own_packages(inspection: Mapping[str, Any], *, own: Mapping[str, bytes]) -> None:
    """Check that the repository's Rego stays in ``aisecops`` and out of what guards the engine.

    Raises:
        BundleRejectedError: a file declares a package that is not the repository's to declare, or the
            decision is missing.
    """
    namespaces: Mapping[str, list[str]] = inspection.get("namespaces") or {}
    for package, files in namespaces.items():
        for file in (path.lstrip("/") for path in files):
            if file not in own and not (package == "data" and file == DATA) and not _is_open(package):
                name = package.removeprefix("data.")
                raise BundleRejectedError(
                    f"rego/{file}: the package {name} is not the policy repository's to declare",
                    hint="Packages are called as their directory: aisecops.rules.CATEGORY.RULE",
                    file=f"rego/{file}",
                )
    if "data.aisecops.decision" not in namespaces:
        raise BundleRejectedError(
            "no file declares the package aisecops.decision",
            hint="Take rego/aisecops/decision from the product's library",
            file="rego/aisecops/decision",
        )


def rule_docs(inspection: Mapping[str, Any]) -> tuple[RuleDoc, ...]:
    """Return what the rules of a bundle say of themselves, sorted by rule."""
    found = (_rule_doc(item) for item in inspection.get("annotations") or [])
    return tuple(sorted((doc for doc in found if doc), key=lambda doc: doc.rule))


def _files(tar: tarfile.TarFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for member in tar:
        stream = tar.extractfile(member) if member.isreg() else None
        path = member.name.lstrip("/")
        if stream is None or path in files or ".." in path.split("/"):
            raise _damaged(f"it has an entry {path!r} that no bundle has")
        files[path] = stream.read()
    return files


def _is_open(package: str) -> bool:
    parts = package.split(".")
    return parts[:2] == ["data", "aisecops"] and parts[2:3] != ["batch"]


def _rule_doc(item: Mapping[str, Any]) -> RuleDoc | None:
    annotations: Mapping[str, Any] = item.get("annotations") or {}
    path = [str(part.get("value")) for part in item.get("path") or []]
    if annotations.get("scope") != "package" or tuple(path[1:3]) != _RULES or len(path) != len(_RULES) + 3:
        return None
    custom: Mapping[str, Any] = annotations.get("custom") or {}
    location: Mapping[str, Any] = item.get("location") or {}
    return RuleDoc(
        rule=".".join(path[3:]),
        title=str(annotations.get("title", "")),
        description=str(annotations.get("description", "")).strip(),
        effect=str(custom.get("effect", "")),
        severity=str(custom.get("severity", "")),
        owner=str(custom.get("owner", "")),
        file="rego/" + str(location.get("file", "")).lstrip("/"),
        line=int(location.get("row", 0)),
    )


def _damaged(why: str) -> IntegrityError:
    return IntegrityError(
        f"a bundle does not verify: {why}", hint="It is not served; activate the commit again to build it anew"
    )
