"""How long a page of a list may be."""

from __future__ import annotations

from aisecops_server.domain.errors import InvalidRequestError

_DEFAULT = 50


def page_size(asked: int, *, at_most: int) -> int:
    """Return the size of a page: 50 when 0 is asked for, never more than ``at_most``.

    Raises:
        InvalidRequestError: it is negative.
    """
    if asked < 0:
        raise InvalidRequestError("page_size: is negative", hint=f"Ask for 1 to {at_most}", field="page_size")
    return min(asked or _DEFAULT, at_most)
