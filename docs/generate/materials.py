"""The bill of materials (CycloneDX): what a control plane is made of, the engine's Go modules included, with licences.

    python -m docs.generate.materials FILE

Everything in it is read from the locks, from what the installed packages say, and from the engine's own file, and
nothing of when or where it was made: the same tree, system and engine give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from aisecops_server.adapters.airgap.cyclonedx import (
    ENGINE_LICENCES,
    Component,
    document,
    engine,
    hashes,
    package,
)
from aisecops_server.adapters.airgap.terms import Terms

from docs.generate.licences import LOCK, ROOT, Licensed, licensed


def bill(file: Path) -> bytes:
    """Return the bill of a control plane with the engine at ``file``, as JSON.

    Raises:
        LookupError: what something is, or its licence, is not known.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    root = package(project["name"], project["version"], Terms("Apache-2.0", is_spdx=True)) | {"type": "application"}
    locked = _locked_hashes()
    packages = [_package(one, locked[one.name]) for one in licensed()]
    opa = engine(file)
    for one in opa.modules:
        if "licenses" not in one:
            raise LookupError(
                f"the terms of {one['name']} are not known: read its licence and add it to {ENGINE_LICENCES}"
            )
    return document(root, packages, opa)


def _package(one: Licensed, digests: Sequence[str]) -> Component:
    component = package(one.name, one.version, one.terms)
    # Any of these files is accepted at installation; which one depends on the system.
    files = {"type": "distribution", "url": component["purl"], "hashes": hashes(*digests)}
    return component | {"externalReferences": [files]}


def _locked_hashes() -> dict[str, list[str]]:
    parts = re.split(r"^(?=[A-Za-z0-9])", LOCK.read_text("utf-8"), flags=re.MULTILINE)
    return {
        part.partition("==")[0]: re.findall(r"--hash=sha256:([0-9a-f]{64})", part) for part in parts if "==" in part
    }


if __name__ == "__main__":
    made = bill(Path(os.environ["AISECOPS_OPA"]))
    Path(sys.argv[1]).write_bytes(made)
    sys.stdout.write(f"{sys.argv[1]}: {hashlib.sha256(made).hexdigest()}\n")
