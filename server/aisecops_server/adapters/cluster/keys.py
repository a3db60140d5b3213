"""The keys with which a process is a member of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """The PEM files of one member of a cluster: the authority of all, its own certificate, and its key."""

    authority: Path
    certificate: Path
    key: Path
