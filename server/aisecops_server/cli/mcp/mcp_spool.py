"""Where ``aisecops mcp proxy`` keeps what came of calls until the control plane knows it, and whose it is.

It is kept for one agent of one tenant of one control plane: told by anybody else, it would be a report of somebody
else's call.
"""

from __future__ import annotations

import os
from pathlib import Path

from aisecops_client.completions import CompletionsByAgent
from aisecops_client.enforce import SPOOL_VARIABLE, fresh_key
from aisecops_client.spool import Spool
from aisecops_mcp.talk import say

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.connection import server_address
from aisecops_server.cli.credentials import subject


def completions_in(folder: str) -> CompletionsByAgent:
    """Return the completions of all agents, kept in ``folder``, where guards do, or in this user's state."""
    folder = folder or os.environ.get(SPOOL_VARIABLE, "")
    root, key = Path(folder) if folder else _usual(), fresh_key()

    def opened(agent: str) -> Spool:
        return Spool.open(root, "\n".join((server_address(), settings().tenant, agent or subject())), key)

    return CompletionsByAgent(opened, say)


def _usual() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or f"{os.environ.get('HOME', '')}/.local/state"
    return Path(home) / "aisecops-mcp"
