"""A folder with the keys of a replay cluster: an authority of its own, a key and a settings file for each member."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from aisecops_server.adapters.identity.local_authority import CERTIFICATE_FILE, open_authority, write_private
from aisecops_server.domain.callers.spiffe import is_path
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.ports import Clock


def make_cluster(directory: Path, nodes: Sequence[str], *, scheduler: str, hours: int, clock: Clock) -> dict[str, Path]:
    """Make or renew the keys of ``nodes`` and return each one's settings file.

    Raises:
        InvalidRequestError: the folder cannot be used, or a name cannot be that of a file.
    """
    for name in nodes:
        if not is_path(f"/{name}") or "/" in name:
            raise InvalidRequestError(
                f"'{name}' cannot be the name of a member",
                hint="Letters, digits, dots, dashes and underscores",
                field="--node",
            )
    authority = open_authority(directory, clock)
    made: dict[str, Path] = {}
    for name in nodes:
        issued = authority.issue_node(name, hours=hours)
        fields = {
            "cluster": scheduler,
            "cluster_ca": str((directory / CERTIFICATE_FILE).absolute()),
            "cluster_certificate": str(issued.certificate.absolute()),
            "cluster_key": str(issued.certificate.with_suffix(".key").absolute()),
        }
        made[name] = directory / f"{name}.yaml"
        write_private(made[name], yaml.safe_dump(fields, sort_keys=True).encode())
    return made
