"""What may name something: one alphabet and one length each for steps, tools, agents and traces."""

from __future__ import annotations

import string

from aisecops_server.domain.formats.limits import LIMITS

_IDENTIFIER = frozenset(string.ascii_letters + string.digits + "_.:-")
# Agents may be named by SPIFFE ids or mail addresses.
_AGENT = _IDENTIFIER | frozenset("/@+=,~%|")
_MODEL = _IDENTIFIER | frozenset("/@+")
_HEXADECIMAL = frozenset("0123456789abcdef")
_TRACE_CHARACTERS = 32
_DIGEST_CHARACTERS = 64


def is_identifier(text: str) -> bool:
    """Return whether ``text`` may name a plan, a step, a source, a session: 1 to 64 of ``[A-Za-z0-9_.:-]``."""
    return _is_of(text, _IDENTIFIER, LIMITS.identifier_characters)


def is_tool(text: str) -> bool:
    """Return whether ``text`` is a qualified name ``server/tool``."""
    server, _, name = text.partition("/")
    return is_identifier(server) and _is_of(name, _IDENTIFIER, LIMITS.tool_characters)


def is_agent_id(text: str) -> bool:
    """Return whether ``text`` may name an agent: printable ASCII without spaces or quotes, at most 256 characters."""
    return _is_of(text, _AGENT, LIMITS.agent_characters)


def is_model(text: str) -> bool:
    """Return whether ``text`` may name a model: 1 to 128 of ``[A-Za-z0-9_.:/@+-]``."""
    return _is_of(text, _MODEL, LIMITS.model_characters)


def is_trace_id(text: str) -> bool:
    """Return whether ``text`` may name a trace: 32 lower-case hexadecimal digits."""
    return len(text) == _TRACE_CHARACTERS and _HEXADECIMAL.issuperset(text)


def is_digest(text: str) -> bool:
    """Return whether ``text`` may be a SHA-256: 64 lower-case hexadecimal digits."""
    return len(text) == _DIGEST_CHARACTERS and _HEXADECIMAL.issuperset(text)


def _is_of(text: str, alphabet: frozenset[str], limit: int) -> bool:
    return 0 < len(text) <= limit and alphabet.issuperset(text)
