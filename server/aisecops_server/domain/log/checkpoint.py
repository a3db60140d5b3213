"""Checkpoints: what a log commits to, in three lines that others can sign (C2SP `tlog-checkpoint`, `tlog-proof`)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.formats.signed_note import Note
from aisecops_server.domain.log.merkle import HASH_BYTES
from aisecops_server.domain.log.record import LogHead

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """That the log called ``origin`` had this head."""

    origin: str
    head: LogHead

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.head.size}\n{base64.b64encode(self.head.root).decode()}\n"


def read_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text is; lines after the third are allowed and mean nothing to us.

    Raises:
        IntegrityError: it is none.
    """
    lines = text.split("\n")
    if len(lines) <= _LINES or not lines[0] or not _SIZE.fullmatch(lines[1]):
        raise _no_checkpoint()
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (ValueError, binascii.Error) as error:
        raise _no_checkpoint() from error
    if len(root) != HASH_BYTES:
        raise _no_checkpoint()
    return Checkpoint(lines[0], LogHead(int(lines[1]), root))


def proof_text(index: int, path: Sequence[bytes], note: Note) -> str:
    """Return the proof that leaf ``index`` is in the tree of the checkpoint ``note``, to be kept beside the event."""
    hashes = "".join(f"{base64.b64encode(node).decode()}\n" for node in path)
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{note.written()}"


def _no_checkpoint() -> IntegrityError:
    return IntegrityError("the text is no checkpoint of a log")
