"""Shows and rotates the keys that sign evidence packages or bundles: what both commands do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.output import say, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisecops.v1.key_service_pb2 import GetKeysResponse, KeyUse
    from rich.console import Console


def told_keys(use: KeyUse.ValueType, action: str | None, reason: str) -> ExitCode:
    """Print the keys for ``use`` for those who verify, show them, or have another one sign."""
    from aisecops_client.keys import rotate_signing_key, signing_keys  # noqa: PLC0415

    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    if (action in ("rotate", "revoke")) != bool(reason):
        raise click.UsageError("'rotate' and 'revoke' need --reason, and nothing else takes it")
    with connect() as client:
        rotated = None
        if action in ("rotate", "revoke"):
            rotated = rotate_signing_key(client, use, reason=reason, revoke=action == "revoke")
        state = signing_keys(client, use)
    document = _document(state)
    if rotated is not None:
        told = {"number": rotated.number, "log_index": rotated.log_index, **document}
        show(told, lambda target: _draw(target, document))
        say(f"event {rotated.log_index} introduces the new key")
    elif action == "show":
        show({**document, "problem": state.problem}, lambda target: _draw(target, document))
    else:
        show(document, lambda _: click.echo(json.dumps(document, indent=1)))
        say("these keys are public; bring them to who verifies by a way that they trust")
    if state.problem:
        say(f"nothing is signed here: {state.problem}")
    return ExitCode.OK


def _document(state: GetKeysResponse) -> dict[str, Any]:
    fields = ("number", "old", "new", "at_seconds", "grace", "by_old", "by_new", "log_index")
    rotations = [{name: getattr(one, name) for name in fields} for one in state.rotations]
    return {"key": state.key, "rotations": rotations}


def _draw(target: Console, document: Mapping[str, Any]) -> None:
    rotations = document["rotations"]
    target.print(f"{document['key']} signs", soft_wrap=True)
    for place, one in reversed(list(enumerate(rotations))):
        is_revoked = not all(later["grace"] for later in rotations[place:])
        counts = "was revoked; nothing that it signed counts" if is_revoked else "what it signed counts"
        target.print(f"{one['old']} signs no more since event {one['log_index']}; {counts}", soft_wrap=True)
