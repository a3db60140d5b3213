"""``aisecops airgap``: carrying the product to where there is no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show, talk_console
from aisecops_server.cli.tree import Entry, group

if TYPE_CHECKING:
    from rich.console import Console

airgap = group(
    "airgap",
    help="Carry the product to where there is no network.",
    entries={"pack": Entry("aisecops_server.cli.edges.airgap:pack", "Write one FILE with wheels, engine and policy.")},
    examples="aisecops airgap pack aisecops.tar.gz --policy ./policy",
)


@command("pack", examples="aisecops airgap pack aisecops.tar.gz --policy ./policy")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--policy", type=click.Path(path_type=Path, file_okay=False, exists=True), help="A policy repository.")
def pack(*, file: Path, policy: Path | None) -> ExitCode:
    """Write one FILE with wheels, engine and policy, and the script that installs them.

    It holds exactly the versions that are installed here, for this Python and system, each by its digest, and a bill of
    materials of them (sbom.cdx.json, CycloneDX 1.6). On the other side: unpack it and run 'sh install.sh
    /opt/aisecops', which reaches nobody. Compare the SHA-256 that is printed with that of the file that arrived.
    """
    from aisecops_server.adapters.airgap.archive import pack as packed  # noqa: PLC0415
    from aisecops_server.adapters.git.create import copy_repository  # noqa: PLC0415
    from aisecops_server.adapters.opa import binary  # noqa: PLC0415

    engine = binary.locate(settings().engine_dir, given=settings().engine_path)
    talk = talk_console()
    with talk.status("getting wheels"):
        copying = (lambda target: copy_repository(policy, target)) if policy else None
        wheels, size, digest = packed(file, engine=engine.path, copy_policy=copying)
    document: dict[str, Any] = {
        "file": str(file),
        "bytes": size,
        "sha256": digest,
        "wheels": wheels,
        "engine": engine.version,
        "policy": str(policy or ""),
    }

    def draw(console: Console) -> None:
        console.print(f"{file}: {wheels} wheels, OPA {engine.version}, {size >> 20} MiB", soft_wrap=True)
        console.print(f"sha256 {digest}", soft_wrap=True)

    show(document, draw)
    return ExitCode.OK
