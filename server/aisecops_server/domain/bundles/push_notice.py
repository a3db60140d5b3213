"""A Git host's word that something was pushed: whether it is the host's, and whether it was said before.

It is no more than a bell: nothing of what it says is believed or even parsed. GitHub's way is a signature over the
body, GitLab's a token; both are compared in constant time. What was said before is known by what the sender vouches
for: with a signature the body, whatever the headers say, and with a token the delivery's own id.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_REMEMBERED = 4096
_SIGNATURE = "x-hub-signature-256"
_TOKEN, _DELIVERY = "x-gitlab-token", "x-gitlab-event-uuid"
_ALGORITHM = "sha256="
_MOST_ID = 200


@dataclass(slots=True)
class PushNotices:
    """Judges deliveries under one secret, and remembers the latest."""

    secret: bytes = field(repr=False)
    _said: dict[str, None] = field(default_factory=dict)

    def refusal(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return why a delivery does not count, in a word, or an empty string when it does; then it never does again.

        ``headers`` have names in lower case.
        """
        mark = self._mark(headers, body)
        if not mark:
            return "signature"
        if mark in self._said:
            return "replayed"
        self._said[mark] = None
        while len(self._said) > MOST_REMEMBERED:
            del self._said[next(iter(self._said))]
        return ""

    def _mark(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return what a genuine delivery is known by, or an empty string for one that is not."""
        digest = hashlib.sha256(body).hexdigest()
        if signature := headers.get(_SIGNATURE):
            wanted = _ALGORITHM + hmac.new(self.secret, body, hashlib.sha256).hexdigest()
            return f"body {digest}" if _same(signature, wanted.encode()) else ""
        token, delivery = headers.get(_TOKEN, ""), headers.get(_DELIVERY, "")
        if not _same(token, self.secret) or len(delivery) > _MOST_ID:
            return ""
        return f"delivery {delivery}" if delivery else f"body {digest}"


def _same(given: str, wanted: bytes) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted)
