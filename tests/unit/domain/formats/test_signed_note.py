"""Signed notes against published ones, and against whoever writes something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.formats.signed_note import (
    MOST_SIGNATURES,
    KeyKind,
    Note,
    NoteKey,
    NoteSignature,
    log_message,
    opened,
    read_key,
    read_note,
    with_signatures,
    witness_message,
    witness_signature,
)

# The example of Go's golang.org/x/mod/sumdb/note.
PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
TEXT = "example.org/log\n7\nAAAA\n"


class Signer:
    """A key that signs notes."""

    def __init__(self, folder: Path, name: str, kind: KeyKind) -> None:
        self.file = open_key(folder, name.replace("/", "-"))
        self.key = NoteKey(name, kind, self.file.public_raw)

    def sign(self, text: str, at: int = 1_700_000_000) -> NoteSignature:
        if self.key.kind is KeyKind.WITNESS:
            return witness_signature(self.key, at, self.file.sign(witness_message(text, at)))
        return NoteSignature(self.key.name, self.key.id, self.file.sign(log_message(text)))


@pytest.fixture
def log(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "example.org/log", KeyKind.LOG)


@pytest.fixture
def witness(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "witness.example", KeyKind.WITNESS)


def test_a_published_note_is_read_verified_and_written_as_it_was() -> None:
    key = read_key(PUBLISHED_KEY)
    note = read_note(PUBLISHED_NOTE)
    assert opened(note, [key], verifies_ed25519) == {"PeterNeumann": 0}
    assert key.text() == PUBLISHED_KEY
    assert note.written() == PUBLISHED_NOTE


def test_a_witness_says_when_it_signed(log: Signer, witness: Signer) -> None:
    note = read_note(Note(TEXT, (log.sign(TEXT), witness.sign(TEXT, 1_700_000_123))).written())
    assert opened(note, [log.key, witness.key], verifies_ed25519) == {
        "example.org/log": 0,
        "witness.example": 1_700_000_123,
    }


def test_lines_of_unknown_keys_count_for_nothing(log: Signer, witness: Signer) -> None:
    note = Note(TEXT, (witness.sign(TEXT),))
    assert opened(note, [log.key], verifies_ed25519) == {}


def test_a_wrong_signature_of_a_known_key_refuses_the_whole_note(log: Signer, witness: Signer) -> None:
    note = Note(TEXT.replace("7", "8"), (log.sign(TEXT), witness.sign(TEXT.replace("7", "8"))))
    with pytest.raises(IntegrityError, match=r"signature of example\.org/log"):
        opened(note, [log.key, witness.key], verifies_ed25519)


def test_a_witness_cannot_move_its_time_and_a_log_cannot_pose_as_a_witness(log: Signer, witness: Signer) -> None:
    later = witness.sign(TEXT).signature
    moved = NoteSignature(witness.key.name, witness.key.id, (9).to_bytes(8, "big") + later[8:])
    with pytest.raises(IntegrityError):
        opened(Note(TEXT, (moved,)), [witness.key], verifies_ed25519)
    same_bytes = NoteKey(log.key.name, KeyKind.WITNESS, log.key.public)
    assert opened(Note(TEXT, (log.sign(TEXT),)), [same_bytes], verifies_ed25519) == {}


def test_a_later_line_of_a_key_takes_the_place_of_its_earlier_one(log: Signer, witness: Signer) -> None:
    note = Note(TEXT, (log.sign(TEXT), witness.sign(TEXT, 1)))
    both = with_signatures(note, [witness.sign(TEXT, 2)])
    assert opened(both, [witness.key], verifies_ed25519) == {"witness.example": 2}
    assert len(both.signatures) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+CRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy1w==",
        "PeterNeumann+c74f20a3+%%%%",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="no key"):
        read_key(text)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n— name\n",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n— name AAAA\n",
        "text\n\n— name ????????\n",
        "text\n\n— name AAAAAAAA",
        "text\r\n\n— name AAAAAAAA\n",
        "text\x00\n\n— name AAAAAAAA\n",
        "text\n\n" + "— name AAAAAAAA\n" * (MOST_SIGNATURES + 1),
        "x" * 70_000 + "\n\n— name AAAAAAAA\n",
    ],
)
def test_what_is_no_note_is_refused(written: str) -> None:
    with pytest.raises(IntegrityError):
        read_note(written)
