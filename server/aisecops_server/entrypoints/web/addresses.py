"""Addresses of pages, and the short names of what they are about."""

from __future__ import annotations

from urllib.parse import urlencode


def address(path: str, **fields: object) -> str:
    """Return an address with the parameters that have a value."""
    kept = {name.rstrip("_"): str(value) for name, value in fields.items() if value not in ("", None, 0)}
    return f"{path}?{urlencode(kept)}" if kept else path


def agent_word(agent_id: str) -> str:
    """Return an agent's short name."""
    return agent_id.rpartition("/")[2] or agent_id
