"""Which credential to send: a file, the environment, or a short-lived token of the local issuer.

The local issuer is used only when its key is readable here, which is already the power to make any token.
"""

from __future__ import annotations

import os
from pathlib import Path

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.invocation import current
from aisecops_server.domain.errors import NotPermittedError
from aisecops_server.domain.identity import Role

FILE_VARIABLE = "AISECOPS_TOKEN_FILE"
LOCAL_SECONDS = 600
LOCAL_SUBJECT = "operator@localhost"


def credential(agent: str) -> str:
    """Return the token to send; for a named ``agent`` one that was made here and has the role of an agent only.

    Raises:
        NotPermittedError: there is none, and none can be made here.
    """
    given = _given()
    if given and not agent:
        return Path(given).read_text(encoding="ascii").strip()
    if agent:
        return local_token(agent, (Role.AGENT,), LOCAL_SECONDS)
    return local_token(LOCAL_SUBJECT, tuple(Role), LOCAL_SECONDS)


def asks_as_operator(agent: str) -> bool:
    """Return whether ``credential`` would have nothing to go by and let this machine's operator ask."""
    return not agent and not _given()


def _given() -> str:
    return current().token_file or os.environ.get(FILE_VARIABLE, "")


def local_token(subject: str, roles: tuple[Role, ...], seconds: int) -> str:
    """Return a token of the local issuer.

    Raises:
        NotPermittedError: this machine or user has no issuer's key in the state directory.
    """
    from aisecops_server.adapters.identity.issuer import PRIVATE_KEY_FILE, local_issuer  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    directory = settings().state_dir / "keys"
    if not os.access(directory / PRIVATE_KEY_FILE, os.R_OK):
        raise NotPermittedError(
            f"there is no credential, and no issuer's key in {directory} to make one with",
            hint=f"Give a token with --token-file or {FILE_VARIABLE}, or name the control plane's --state-dir",
        )
    return local_issuer(directory, SystemClock(), audience=settings().token_audience).mint(
        subject, roles, seconds=seconds
    )
