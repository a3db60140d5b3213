"""What of an event can be erased later: kept beside its leaf, which holds a salted commitment in its place.

Owns which details of which events are payload (`PAYLOAD_OF`): what people and agents wrote, and every digest from
which it could be guessed. Who acted, when, by which tool, under which rule and policy, and what came of it is no
payload and stays as long as the log does.

The payload of an event is 32 bytes of salt and canonical JSON; the event's body names ``commitment`` of it. Without the
salt nobody can try texts until one fits, so that what was erased stays erased although its commitment is in the log for
good. Events of before had no payload, and all they say is in their leaf.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes

SALT_BYTES = 32
# Until a store salts it anew, which it does with what nobody can guess.
NO_SALT = bytes(SALT_BYTES)
# Leaves begin with 0 and nodes with 1 (RFC 6962), so that no commitment is either.
_PREFIX = b"\x02"

# By the type of an event, or the part of it before the dot: paths into its details. ``*`` is every item of a list; the
# ending says what stands there once it is erased: ``[]`` and ``{}`` for an empty one, otherwise an empty text.
_CALL = ("arguments_sha256", "result_sha256", "failure")
PAYLOAD_OF: Mapping[str, tuple[str, ...]] = {
    "plan.received": ("intent", "plan_hash"),
    "plan.rejected": ("message", "metadata{}"),
    "text.received": ("plan_hash", "parts/*/digest"),
    "text.rejected": ("message", "metadata{}"),
    "approval.required": ("plan_hash",),
    "approval.requested": ("intent", "explanation", "plan_hash", "nonce", "hash_class"),
    "approval.consumed": ("plan_hash",),
    "decision.concluded": (
        "plan_hash",
        "explanation",
        "findings/*/message",
        "findings/*/remedy",
        "findings/*/facts[]",
        "sources/*/name",
        "sources/*/origin_uri",
        "sources/*/digest",
        "refused_calls/*/arguments_sha256",
        "screening/parts/*/digest",
        "screening/parts/*/detections[]",
    ),
    "decision.refused": ("plan_hash", "message", "metadata{}", "parts/*/digest"),
    "grant.issued": ("grants/*/plan_hash", "grants/*/arguments_sha256"),
    "grant.refused": ("presented_arguments_sha256",),
    # What an edge recorded has a payload of its own, which its body commits to.
    "edge.recorded": ("payload",),
    "execution": _CALL,
    "incident": (*_CALL, "expected", "found", "presented_arguments_sha256"),
}

_Tree = dict[str, Any]
_BLANKS: Mapping[str, JsonValue] = {"[]": [], "{}": {}}


def commitment(payload: bytes) -> str:
    """Return what an event's body says of its payload, in hexadecimal."""
    return hashlib.sha256(_PREFIX + payload).hexdigest()


def divided(type: str, details: Mapping[str, JsonValue]) -> tuple[Mapping[str, JsonValue], bytes]:
    """Return what of ``details`` stays for good, and the payload behind an empty salt; nothing where there is none.

    Raises:
        ValueError: the payload has no canonical form.
    """
    tree = _tree(type)
    if not tree:
        return details, b""
    public, private = _taken(details, tree)
    return public, NO_SALT + canonical_bytes(private) if private else b""


def joined(details: dict[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details as they were before they were divided; ``details`` and what is in them are used up."""
    whole: dict[str, Any] = _joined(details, payload)
    return whole


def blanked(type: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details of an event whose payload was erased, with nothing where it was."""
    whole: dict[str, Any] = _blanked(details, _tree(type))
    return whole


@functools.cache
def _tree(type: str) -> _Tree:
    paths = PAYLOAD_OF.get(type) or PAYLOAD_OF.get(type.partition(".")[0], ())
    tree: _Tree = {}
    for path in paths:
        *way, last = path.split("/")
        place = tree
        for name in way:
            place = place.setdefault(name, {})
        name, kind = (last[:-2], last[-2:]) if last[-2:] in _BLANKS else (last, "")
        place[name] = kind
    return tree


def _taken(value: Any, tree: _Tree) -> tuple[Any, Any]:
    if isinstance(value, (list, tuple)):
        parts = [_taken(item, tree["*"]) for item in value] if "*" in tree else []
        taken = [private for _, private in parts]
        return ([public for public, _ in parts], taken) if any(taken) else (value, None)
    if not isinstance(value, Mapping):
        return value, None
    public, private = dict(value), {}
    for name, under in tree.items():
        if name not in public:
            continue
        if isinstance(under, str):
            private[name] = public.pop(name)
        else:
            public[name], taken = _taken(public[name], under)
            if taken:
                private[name] = taken
    return public, private


def _joined(public: Any, private: Any) -> Any:
    if isinstance(private, str):
        return private
    if isinstance(private, list) and isinstance(public, list) and len(private) == len(public):
        return [_joined(one, other) for one, other in zip(public, private, strict=True)]
    if isinstance(private, dict) and isinstance(public, dict):
        for name, value in private.items():
            public[name] = value if isinstance(value, str) else _joined(public.get(name), value)
        return public
    return private


def _blanked(value: Any, tree: _Tree) -> Any:
    if isinstance(value, list):
        return [_blanked(item, tree["*"]) for item in value] if "*" in tree else value
    if not isinstance(value, Mapping):
        return value
    whole = dict(value)
    for name, under in tree.items():
        if isinstance(under, str):
            whole[name] = _BLANKS.get(under, "")
        elif name in whole:
            whole[name] = _blanked(whole[name], under)
    return whole
