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
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from docs.generate.go_modules import GoModule, modules_of
from docs.generate.licences import LOCK, ROOT, Licensed, licensed

ENGINE_LICENCES = ROOT / "requirements" / "engine.licences"
SPECIFICATION = "1.6"
# Terms that are told by a name because SPDX has no such identifier.
_NO_IDENTIFIER = {"BSD", "any-OSI", "Public-Domain"}
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
Component = dict[str, Any]


def bill(engine: Path) -> bytes:
    """Return the bill as JSON.

    Raises:
        LookupError: what something is, or its licence, is not known.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    name = f"pkg:pypi/{project['name']}@{project['version']}"
    root: Component = {"type": "application", "bom-ref": name, "name": project["name"], "version": project["version"]}
    root |= {"purl": name, "licenses": _terms("Apache-2.0")}
    hashes = _locked_hashes()
    packages = [_package(one, hashes[one.name]) for one in licensed()]
    opa, modules = _engine(engine)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "version": 1,
        "metadata": {"component": root, "properties": [{"name": "cdx:reproducible", "value": "true"}]},
        "components": [*packages, opa, *modules],
        "dependencies": [
            {"ref": name, "dependsOn": [one["bom-ref"] for one in (*packages, opa)]},
            {"ref": opa["bom-ref"], "dependsOn": [one["bom-ref"] for one in modules]},
        ],
    }
    # Named by what is in it, so that two bills with one number are one bill.
    number = uuid.uuid5(_NAMESPACE, hashlib.sha256(orjson.dumps(document)).hexdigest())
    return orjson.dumps({**document, "serialNumber": f"urn:uuid:{number}"}, option=orjson.OPT_INDENT_2) + b"\n"


def _package(one: Licensed, hashes: Sequence[str]) -> Component:
    name = f"pkg:pypi/{re.sub(r'[-_.]+', '-', one.name).lower()}@{one.version}"
    digests = [{"alg": "SHA-256", "content": digest} for digest in hashes]
    return {
        "type": "library",
        "bom-ref": name,
        "name": one.name,
        "version": one.version,
        "purl": name,
        "licenses": _terms(one.terms),
        # Any of these files is accepted at installation; which one depends on the system.
        "externalReferences": [{"type": "distribution", "url": name, "hashes": digests}],
    }


def _engine(file: Path) -> tuple[Component, list[Component]]:
    own, *others = modules_of(file)
    terms = _engine_terms()
    opa = _module(own, terms) | {"type": "application", "name": "opa"}
    opa["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}]
    return opa, [_module(one, terms) for one in others]


def _module(one: GoModule, terms: Mapping[str, str]) -> Component:
    if one.path not in terms:
        raise LookupError(f"the terms of {one.path} are not known: read its licence and add it to {ENGINE_LICENCES}")
    name = f"pkg:golang/{one.path}@{one.version}"
    module: Component = {"type": "library", "bom-ref": name, "name": one.path, "version": one.version, "purl": name}
    module["licenses"] = _terms(terms[one.path])
    return module | ({"properties": [{"name": "go:sum", "value": one.sum}]} if one.sum else {})


def _engine_terms() -> dict[str, str]:
    lines = [line for line in ENGINE_LICENCES.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {path: terms for path, _, terms in (line.partition(" ") for line in lines)}


def _terms(said: str) -> list[dict[str, Any]]:
    """Return terms as the specification has them: an SPDX identifier, an expression of several, or else a name."""
    parts = re.split(r"\s+(and|or|with)\s+", said, flags=re.IGNORECASE)
    if len(parts) == 1:
        return [{"license": {"name" if said in _NO_IDENTIFIER else "id": said}}]
    known = [f"LicenseRef-{part}" if part in _NO_IDENTIFIER else part for part in parts]
    return [{"expression": " ".join(word.upper() if at % 2 else word for at, word in enumerate(known))}]


def _locked_hashes() -> dict[str, list[str]]:
    parts = re.split(r"^(?=[A-Za-z0-9])", LOCK.read_text("utf-8"), flags=re.MULTILINE)
    return {
        part.partition("==")[0]: re.findall(r"--hash=sha256:([0-9a-f]{64})", part) for part in parts if "==" in part
    }


if __name__ == "__main__":
    made = bill(Path(os.environ["AISECOPS_OPA"]))
    Path(sys.argv[1]).write_bytes(made)
    sys.stdout.write(f"{sys.argv[1]}: {hashlib.sha256(made).hexdigest()}\n")
