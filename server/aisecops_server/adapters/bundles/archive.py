"""Reads a built bundle again, byte by byte, and says whether it is what was meant.

The engine's own tools load a changed bundle without a word, so nothing here trusts them: the archive's files are
compared with what went in, and the digest that names the bundle is computed from the archive.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

from aisecops_server.adapters.bundles.layout import DATA, MANIFEST, Layout, content_digest
from aisecops_server.domain.bundle import BundleDigest, RuleDoc
from aisecops_server.domain.errors import BundleRejectedError, IntegrityError

SIGNATURES = ".signatures.json"
MAX_ARCHIVE_BYTES = 64 * 1024 * 1024
MAX_CONTENT_BYTES = 128 * 1024 * 1024

_RULES = ("aisecops", "rules")


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


def require_same(files: Mapping[str, bytes], layout: Layout) -> None:
    """Check that an archive holds exactly what was meant, plus one signature.

    Raises:
        IntegrityError: a file is missing, added or changed.
    """
    if set(files) != {*layout.files, SIGNATURES}:
        raise _damaged("its files are not those that were built")
    changed = [path for path, content in layout.files.items() if path.endswith(".rego") and files[path] != content]
    if changed:
        raise _damaged(f"{changed[0]} was changed")
    if json.loads(files[DATA]) != json.loads(layout.files[DATA]):
        raise _damaged("the tables were changed")
    manifest = json.loads(files[MANIFEST])
    if any(manifest.get(key) != value for key, value in json.loads(layout.files[MANIFEST]).items()):
        raise _damaged("the manifest was changed")


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
