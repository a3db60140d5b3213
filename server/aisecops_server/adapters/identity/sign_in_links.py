"""One-time links into the UI: a code on the screen, a token in a file that only this user can read.

Whoever can write here holds the issuer's key as well, so a link gives nothing that they did not have. The code is
not in the file: its name is the code's digest. Taking a link removes its file first, so it opens once.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.domain.formats.canonical import digest
from aisecops_server.ports import Clock, Ids

LINK_SECONDS = 300
_NS = 1_000_000_000
_CODE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class SignInLinks:
    """The links that wait to be opened, in a directory of their own."""

    directory: Path
    clock: Clock
    ids: Ids

    def leave(self, token: str, *, seconds: int = LINK_SECONDS) -> str:
        """Keep ``token`` for whoever brings the code that is returned, for ``seconds``."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        code = self.ids.nonce()
        path = self._path(code)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(json.dumps({"token": token, "until": self._now + seconds}), encoding="ascii")
        return code

    def take(self, code: str) -> str:
        """Return the token that was left under ``code``, once and in time; otherwise an empty string."""
        if not 0 < len(code) <= _CODE_CHARACTERS:
            return ""
        path = self._path(code)
        taken = path.with_suffix(".taken")
        try:
            # Of two who bring it at once, one renames it.
            path.rename(taken)
            left = json.loads(taken.read_bytes())
            return str(left["token"]) if int(left["until"]) > self._now else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        finally:
            taken.unlink(missing_ok=True)

    @property
    def _now(self) -> int:
        return self.clock.now_ns() // _NS

    def _path(self, code: str) -> Path:
        return self.directory / f"{digest(code.encode())}.json"

    def _sweep(self) -> None:
        for path in self.directory.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if int(json.loads(path.read_bytes())["until"]) <= self._now:
                    path.unlink(missing_ok=True)
