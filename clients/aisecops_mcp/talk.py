"""What the proxy says about itself: on standard error, because standard output belongs to the protocol.

Whatever a server or client sent is shown with everything escaped that could steer a terminal or forge a line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

_CHARACTERS = 300

Say = Callable[[str], None]


def say(text: str) -> None:
    """Write one line for the people who run the proxy."""
    print(f"aisecops mcp: {shown(text, _CHARACTERS)}", file=sys.stderr, flush=True)  # noqa: T201 - see above


def shown(text: str, characters: int) -> str:
    """Return ``text`` on one line, with what cannot be seen spelled out."""
    visible = "".join(mark if mark.isprintable() else f"\\u{ord(mark):04x}" for mark in text[:characters])
    return f"{visible}…" if len(text) > characters else visible
