"""The composition root of a witness: a key and a memory of its own, and the logs it cosigns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.sqlite.witness_store import SqliteWitnessStore
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.state import private
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.signed_note import KeyKind, NoteKey, read_key
from aisecops_server.settings import Settings
from aisecops_server.usecases.log.witness import Cosign

WITNESS_KEY = "witness"


def witness_key(settings: Settings, name: str) -> NoteKey:
    """Return the key of the witness whose state directory is the one of ``settings``, making it on first use."""
    return NoteKey(name, KeyKind.WITNESS, open_key(private(settings.state_dir) / "keys", WITNESS_KEY).public_raw)


@contextlib.contextmanager
def witness(settings: Settings, *, name: str, logs: Sequence[str]) -> Iterator[Cosign]:
    """Compose a witness of ``logs`` (their keys) over the state directory, and take it down again.

    Raises:
        InvalidRequestError: a key is none of a log.
        IntegrityError, LogUnavailableError: its key or its store cannot be used.
    """
    state = private(settings.state_dir)
    keys = [read_key(text) for text in logs]
    if others := [key.name for key in keys if key.kind is not KeyKind.LOG]:
        raise InvalidRequestError(f"{others[0]} is no log", hint="Give what 'aisecops log key' prints", field="log")
    store = SqliteWitnessStore(state / "witness.db")
    with contextlib.closing(store):
        yield Cosign(
            name=name,
            signer=open_key(state / "keys", WITNESS_KEY),
            logs={key.name: key for key in keys},
            store=store,
            clock=SystemClock(),
            verify=verifies_ed25519,
        )
