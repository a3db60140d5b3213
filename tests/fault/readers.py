"""What reads bytes that strangers write: whatever comes is read or refused by name, and soon.

``spoiled`` changes good examples blindly; ``tests.fault.fuzzing`` looks which bytes reach new code.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import random
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from aisecops_grant.token import GrantRefusedError, claims_of, take_apart
from aisecops_mcp import jsonrpc
from aisecops_server.adapters.bundles.archive import pack, read_archive
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.records.python_records import python_scalars
from aisecops_server.adapters.records.yaml_records import yaml_scalars
from aisecops_server.domain.bundles.release import read_release
from aisecops_server.domain.callers.spiffe import parse as read_spiffe
from aisecops_server.domain.errors import AisecopsError, IntegrityError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.formats.dsse import read_envelope
from aisecops_server.domain.formats.signed_note import KeyKind, NoteKey, read_key, read_note
from aisecops_server.domain.formats.strict_json import parse
from aisecops_server.domain.formats.trace_parent import read_trace_parent
from aisecops_server.domain.grounding.source_text import json_scalars
from aisecops_server.domain.log.backup import read_backup
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.log.log_keys import read_receipt
from aisecops_server.domain.traces.trace_query import read_query
from aisecops_verify import EvidenceError, verify

# A reader that takes longer for a few hundred bytes hangs.
MOST_SECONDS = 5.0
_LONGEST = 4096
_REFUSALS = (AisecopsError, EvidenceError, GrantRefusedError, jsonrpc.MalformedError)
_TOKENS = (
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r\n", b"\n\n", b"\\u0000", b"\\ud800", "\u2028".encode()),
    *(b"-0", b"1e999", b"9007199254740993", b"NaN", b"0x10", b"1_0", b"[" * 200, b'{"a":' * 60, b"((" * 100, b'""'),
    *(b"&a [*a]", b"<<: *a", b"!!python/object:x ", b"? ", b"- - - ", b"%YAML 1.2\n---\n", b"*" * 20, b"+" * 20),
)


def _json(data: bytes) -> object:
    value = parse(data, field="fuzzed")
    assert parse(canonical_bytes(value), field="fuzzed") == value
    return value


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


@dataclass(frozen=True)
class Reader:
    """What reads bytes, and examples that it reads."""

    read: Callable[[bytes], object]
    examples: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...] = _REFUSALS

    def require_read_or_refused(self, data: bytes) -> None:
        """Read ``data``; whatever is raised that is no refusal is raised on.

        Raises:
            TimeoutError: it took too long.
        """
        began = time.monotonic()
        with contextlib.suppress(*self.refusals):
            self.read(data)
        if time.monotonic() - began > MOST_SECONDS:
            raise TimeoutError(f"{len(data)} bytes took more than {MOST_SECONDS} s")


_JSON = (b'{"a":[1,2.5,null,true,"x\\u00e9"],"b":{"c":"d"}}', b"[1e3,-0.5]")
_YAML = (b"# one\na: [1, 'b', \"c\"]\nd:\n  - &x {e: f}\n  - *x\ng: |\n  text\n", b"- 1\n- true\n- 2026-01-01\n")
_KEY = NoteKey("aisecops.example/log/a", KeyKind.LOG, b"k" * 32).text().encode()
_NOTE = b"aisecops.example/log/a\n12\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
_SIGNED = _NOTE + "\n— aisecops.example/log/a AAAAAAAAAAAA\n".encode()
_RECEIPT = _SIGNED.replace(b"a\n12", b"a/receipt\n12")
_HEADER = b'{"alg":"EdDSA","kid":"a","typ":"grant+jwt"}'
_CLAIMS = (
    b'{"iss":"aisecops","jti":"g","aud":"a","sub":"b","cnf":{"credential#S256":"c"},"decision_id":"d",'
    b'"trace_id":"t","plan_hash":"h","step_id":"s","step_index":0,"tool":"a/b","arguments_sha256":"e",'
    b'"obligations":[{"kind":"f"}],"iat":1,"exp":2}'
)
_ENVELOPE = b'{"payloadType":"a/b","payload":"e30=","signatures":[{"keyid":"a","sig":"AAAA"}]}'
_BACKUP = b'{"format":1,"made_at_seconds":1,"made_by":"a","log":{"id":"a","size":1,"root":"00"},"files":{"a":"b"}}'
_RELEASE = canonical_bytes(
    {
        "edge": "edge-1",
        "nonce": "n",
        "counter": 1,
        "commit": {"id": "a" * 40, "author": "a", "summary": "b", "committed_at_seconds": 1},
        "digest": "d" * 64,
        "archive_sha256": "e" * 64,
        "issued_at_seconds": 1,
        "expires_at_seconds": 2,
        "rules": [],
        "tools": ["a/b"],
    }
)
_CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":1}}}'


def _token(claims: bytes) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (_HEADER, claims, b"signature"))


# What is within the compression: outside of it a sum finds every change.
_TAR = gzip.decompress(pack({"data.json": b"{}", "a/b.rego": b"package a"}))[:3072]


def _package() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("manifest.json", "events.jsonl", "bundles/a.tar.gz"):
            archive.writestr(zipfile.ZipInfo(name), b"{}")
    return made.getvalue()


READERS = {
    "json": Reader(_json, _JSON),
    "json-scalars": Reader(_text(json_scalars), _JSON),
    "yaml-table": Reader(lambda data: parse_yaml("data/t.yaml", data), _YAML),
    "yaml-scalars": Reader(_text(yaml_scalars), _YAML),
    "python-scalars": Reader(_text(python_scalars), (b"[{'a': 1, 'b': (2.5, None)}, 'c' 'd']", b"f('x')")),
    "note": Reader(_text(read_note), (_SIGNED,)),
    "note-key": Reader(_text(read_key), (_KEY,)),
    "checkpoint": Reader(_text(read_checkpoint), (_NOTE,)),
    "receipt": Reader(_text(read_receipt), (_RECEIPT,), (IntegrityError, ValueError)),
    "envelope": Reader(lambda data: read_envelope(data, field="fuzzed", limit=_LONGEST), (_ENVELOPE,)),
    "backup": Reader(read_backup, (_BACKUP,)),
    "release": Reader(read_release, (_RELEASE,)),
    "bundle": Reader(lambda data: read_archive(gzip.compress(data, 1)), (_TAR,)),
    "evidence": Reader(verify, (_package(),)),
    "grant": Reader(lambda data: claims_of(take_apart(_token(data))), (_CLAIMS,)),
    "grant-token": Reader(_text(take_apart), (_token(_CLAIMS).encode(),)),
    "mcp": Reader(jsonrpc.read, (_CALL, b'{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"b"}}')),
    "trace-query": Reader(_text(read_query), (b'tool:mail/send -outcome:deny "two words" since:2026-01-01', b"a:b")),
    "spiffe": Reader(_text(read_spiffe), (b"spiffe://corp.example/agent/a",)),
    "trace-parent": Reader(_text(read_trace_parent), (b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",)),
}


def spoiled(examples: Sequence[bytes], count: int, chance: random.Random) -> Iterator[bytes]:
    """Yield examples with bytes changed, taken out, doubled, crossed, and with what readers stumble over put in."""
    for _ in range(count):
        data = bytearray(chance.choice(examples))
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    data[at:at] = chance.choice(_TOKENS)
                case 1:
                    del data[at : at + chance.randint(1, 16)]
                case 2:
                    data[at : at + 1] = bytes((chance.randrange(256),))
                case 3:
                    data[at:at] = data[at : at + chance.randint(1, 64)] * chance.randint(1, 8)
                case _:
                    other = chance.choice(examples)
                    data[at:] = other[chance.randrange(len(other) + 1) :]
        yield bytes(data[:_LONGEST])
