"""The words that callers say instead of the API's constants."""

from __future__ import annotations

import difflib
from typing import Any


def constant(kind: Any, prefix: str, word: str, what: str) -> Any:
    """Return the constant of the enum ``kind`` that ``word`` says, such as `user_prompt`.

    Raises:
        ValueError: there is none; the message has those that there are.
    """
    known = {name.removeprefix(prefix).lower(): number for name, number in kind.items() if number}
    if word.lower() in known:
        return known[word.lower()]
    close = difflib.get_close_matches(word.lower(), known, n=1)
    meant = f", did you mean '{close[0]}'?" if close else "."
    raise ValueError(f"there is no {what} '{word}'{meant} There are {', '.join(known)}")
