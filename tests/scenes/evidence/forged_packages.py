"""An evidence package by somebody who controls everything in it: it verifies, and every word in it is theirs."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisecops_server.adapters.evidence.archive import pack
from aisecops_server.adapters.signing.keys import SigningKey, open_key
from aisecops_server.domain.events.payload import SALT_BYTES, commitment
from aisecops_server.domain.evidence.evidence import (
    CHECKPOINT,
    EVENTS,
    MANIFEST,
    PAYLOADS,
    PROOFS,
    STATEMENT,
    envelope_of,
    signed_bytes,
)
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.formats.signed_note import KeyKind, Note, NoteKey, NoteSignature, log_message
from aisecops_server.domain.log.checkpoint import Checkpoint
from aisecops_server.domain.log.merkle import inclusion_proof, leaf_hash, root_of
from aisecops_server.domain.log.record import LogHead
from aisecops_verify import read_package

# Words of our own, on which pages depend: outcomes, stages, kinds, types, times, pointers, digests and commits.
_OURS = re.compile(r"[A-Z_]*|[a-z_]+(\.[a-z_]+)*|[0-9]+|/[a-z0-9_/~]*|[0-9a-f]{40}|[0-9a-f]{64}|sha256:.*")
_TRACE = re.compile("[0-9a-f]{32}")


@dataclass
class Forger:
    """Puts one of ``texts`` in the place of every word, the same one for the same word, so that records still join.

    A trace is found by an id of its form only, so ``identifiers`` says whether those are words as well.
    """

    texts: Sequence[str]
    identifiers: bool = field(default=True, kw_only=True)
    said: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)

    def package(self, honest: bytes, keys: Path) -> bytes:
        """Return a package that verifies by keys of the forger's own, made of an honest one."""
        files = dict(read_package(honest))
        self._replace_documents(files)
        bodies, payloads = self._events(files)
        leaves = [leaf_hash(body) for body in bodies]
        paths = [[node.hex() for node in inclusion_proof(leaves, at)] for at in range(len(leaves))]
        log = open_key(keys, "log")
        key = NoteKey(self._origin(), KeyKind.LOG, log.public_raw)
        text = Checkpoint(key.name, LogHead(len(leaves), root_of(leaves))).text()
        note = Note(text, (NoteSignature(key.name, key.id, log.sign(log_message(text))),))
        files |= {
            EVENTS: b"".join(body + b"\n" for body in bodies),
            PROOFS: canonical_bytes([{"index": at, "path": path} for at, path in enumerate(paths)]),
            PAYLOADS: canonical_bytes({str(at): base64.b64encode(one).decode() for at, one in payloads.items()}),
            CHECKPOINT: note.written().encode(),
        }
        return self._signed(files, key.text(), open_key(keys, "evidence"))

    def word(self, text: str) -> str:
        """Return what is said in place of ``text``."""
        if _OURS.fullmatch(text) or (not self.identifiers and _TRACE.fullmatch(text)):
            return self.documents.get(text, text)
        if text not in self.said:
            begun, at = divmod(len(self.said), len(self.texts))
            # What was two is not one now.
            self.said[text] = self.texts[at] + (f" {begun}" if begun else "")
        return self.said[text]

    def _origin(self) -> str:
        # A log's name is part of its signed note, whose form has no blank and no plus sign in it.
        return next(text for text in self.texts if "<" in text and not re.search(r"[\s+]", text) and text.isascii())

    def _replace_documents(self, files: dict[str, bytes]) -> None:
        for name in [name for name in files if name.startswith("documents/")]:
            told = canonical_bytes(self._forged(json.loads(files.pop(name))))
            self.documents[name.removeprefix("documents/").removesuffix(".json")] = digest(told)
            files[f"documents/{digest(told)}.json"] = told

    def _events(self, files: Mapping[str, bytes]) -> tuple[list[bytes], dict[int, bytes]]:
        kept = json.loads(files[PAYLOADS])
        indexes = [str(one["index"]) for one in json.loads(files[PROOFS])]
        bodies, payloads = [], {}
        for at, (index, line) in enumerate(zip(indexes, files[EVENTS].splitlines(), strict=True)):
            body = self._forged(json.loads(line))
            if index in kept:
                whole = base64.b64decode(kept[index])
                payloads[at] = whole[:SALT_BYTES] + canonical_bytes(self._forged(json.loads(whole[SALT_BYTES:])))
                body["payload"] = commitment(payloads[at])
            bodies.append(canonical_bytes(body))
        return bodies, payloads

    def _forged(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.word(value)
        if isinstance(value, list):
            return [self._forged(one) for one in value]
        if isinstance(value, dict):
            return {name: self._forged(one) for name, one in value.items()}
        return value

    def _signed(self, files: Mapping[str, bytes], log_key: str, signer: SigningKey) -> bytes:
        rest = {name: content for name, content in files.items() if name not in {MANIFEST, STATEMENT}}
        # Files that nobody asked for, with names that are texts too; a name in an archive has no way up in it.
        names = (text for text in self.texts if not re.search(r"[/\\:\0]", text) and text not in {"", ".", ".."})
        rest |= dict.fromkeys(itertools.islice((name for name in names if len(name) < 200), 40), b"")
        manifest = json.loads(files[MANIFEST])
        manifest |= {
            "files": {name: digest(content) for name, content in rest.items()},
            "events": rest[EVENTS].count(b"\n"),
            "keys": {"log": log_key, "evidence": signer.public_raw.hex()},
            "selection": {self.texts[0]: self.texts[1], "trace_ids": list(self.texts[:3])},
        }
        listed = canonical_bytes(manifest)
        statement = json.loads(base64.b64decode(json.loads(files[STATEMENT])["payload"]))
        statement["subject"][0]["digest"]["sha256"] = digest(listed)
        told = canonical_bytes(statement)
        envelope = envelope_of(told, signature=signer.sign(signed_bytes(told)), key_id=self.texts[2])
        return pack({**rest, MANIFEST: listed, STATEMENT: envelope})
