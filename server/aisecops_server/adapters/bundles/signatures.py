"""The signatures file of a bundle, as the engine wants it: a token over the digest of each file.

The engine digests a structured file (``data.json``, ``.manifest``) by what it says, in a spelling of its own: compact,
keys by code point, the line separators of Unicode escaped. Every other file is digested as it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from aisecops_server.adapters.bundles.layout import DATA, MANIFEST
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.ports import Signer

KEY_ID = "aisecops"

_STRUCTURED = frozenset({DATA, MANIFEST})
_HEADER: JsonValue = {"alg": "EdDSA", "typ": "JWT"}
# Where canonical JSON may differ: line separators, and keys with characters that UTF-16 writes as pairs.
_SPELLED_OTHERWISE = re.compile(rb"\xe2\x80[\xa8\xa9]|[\xf0-\xf4]")
_LINE_SEPARATORS = {0x2028: "\\u2028", 0x2029: "\\u2029"}


class _Number(str):
    """A number as it is spelled in its file, which is how the engine digests it."""

    __slots__ = ()


def signatures(files: Mapping[str, bytes], signer: Signer) -> bytes:
    """Return the signatures file of ``files``, whose structured ones are canonical JSON."""
    named: list[JsonValue] = [
        {"name": path, "hash": _digest(path, files[path]), "algorithm": "SHA-256"} for path in sorted(files)
    ]
    signed = b".".join(map(_url_safe, (canonical_bytes(_HEADER), canonical_bytes({"files": named, "keyid": KEY_ID}))))
    token = b".".join((signed, _url_safe(signer.sign(signed))))
    return canonical_bytes({"signatures": [token.decode("ascii")]})


def _digest(path: str, content: bytes) -> str:
    if path in _STRUCTURED and _SPELLED_OTHERWISE.search(content):
        value = json.loads(content, parse_int=_Number, parse_float=_Number)
        content = "".join(_spelled(value)).encode("utf-8")
    return hashlib.sha256(content).hexdigest()


def _spelled(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{"
        for at, key in enumerate(sorted(value)):
            yield f"{',' if at else ''}{_text(key)}:"
            yield from _spelled(value[key])
        yield "}"
    elif isinstance(value, list):
        yield "["
        for at, item in enumerate(value):
            yield "," if at else ""
            yield from _spelled(item)
        yield "]"
    elif isinstance(value, str):
        yield str(value) if isinstance(value, _Number) else _text(value)
    else:
        yield json.dumps(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_LINE_SEPARATORS)


def _url_safe(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
