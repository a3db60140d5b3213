"""The bill of materials of what is carried: each wheel and the engine, by the digest of the very file.

Licences are what each wheel says of itself; one that says nothing has none.
"""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path

from aisecops_server.adapters.airgap.cyclonedx import Component, digest_of, document, engine, hashes, package
from aisecops_server.adapters.airgap.distributions import OURS
from aisecops_server.adapters.airgap.terms import terms_of
from aisecops_server.domain.errors import InvalidRequestError

_ABOUT = ".dist-info/METADATA"


def bill(root: Path) -> bytes:
    """Return the bill of ``wheels`` and ``opa`` in ``root``, as JSON.

    Raises:
        InvalidRequestError: a file does not say what it is.
    """
    try:
        wheels = [_wheel(path) for path in sorted((root / "wheels").iterdir())]
        opa = engine(root / "opa")
    except (LookupError, zipfile.BadZipFile) as error:
        raise InvalidRequestError(
            f"there is no bill of materials: {error}",
            hint="Pack wheels that are whole, and an engine that says what it was built from: 'go version -m FILE'",
            field="file",
        ) from error
    opa.opa.update(_at("opa"))
    version = next(one["version"] for one in wheels if one["name"] == OURS)
    name = f"{OURS}-airgap"
    carried: Component = {"type": "application", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    return document(carried, wheels, opa)


def _wheel(path: Path) -> Component:
    about = _about(path)
    component = package(about["Name"], about["Version"], terms_of(about))
    return component | {"hashes": hashes(digest_of(path))} | _at(f"wheels/{path.name}")


def _about(path: Path) -> metadata.PackageMetadata:
    with zipfile.ZipFile(path) as wheel:
        found = [name for name in wheel.namelist() if name.endswith(_ABOUT) and name.count("/") == 1]
        if len(found) != 1:
            raise LookupError(f"{path.name} does not say what it is")
        return metadata.PathDistribution(zipfile.Path(wheel, found[0].removesuffix("METADATA"))).metadata


def _at(place: str) -> Component:
    """Return where in the pack a thing is."""
    return {"evidence": {"occurrences": [{"location": place}]}}
