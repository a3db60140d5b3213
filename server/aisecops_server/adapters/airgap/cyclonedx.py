"""The parts of a bill of materials (CycloneDX): packages, the engine with its Go modules, and the document of them.

Nothing of when or where a bill was made is in it: the same things give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from aisecops_server.adapters.airgap.go_modules import GoModule, modules_of
from aisecops_server.adapters.airgap.terms import IDENTIFIERS, Terms

SPECIFICATION = "1.6"
ENGINE_LICENCES = Path(__file__).with_name("engine.licences")
Component = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine, by the digest of its file, and the modules that it was built from, the standard library first."""

    opa: Component
    modules: Sequence[Component]


def package(name: str, version: str, terms: Terms | None) -> Component:
    """Return a Python package."""
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{quote(version, safe='')}"
    return _component(name, version, purl, terms)


def engine(file: Path) -> Engine:
    """Return the engine at ``file``; a module whose terms were not read has none.

    Raises:
        LookupError: the file does not say what it was built from.
    """
    own, *others = modules_of(file)
    lines = [line for line in ENGINE_LICENCES.read_text("utf-8").splitlines() if not line.startswith("#")]
    terms = {path: Terms(said, is_spdx=True) for path, _, said in (line.partition(" ") for line in lines)}
    opa = _module(own, terms.get(own.path)) | {"type": "application", "name": "opa", "hashes": hashes(digest_of(file))}
    return Engine(opa, [_module(one, terms.get(one.path)) for one in others])


def document(root: Component, packages: Sequence[Component], engine: Engine) -> bytes:
    """Return the bill of ``root``, which is made of ``packages`` and an engine, as JSON."""
    opa, modules = engine.opa, engine.modules
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "version": 1,
        "metadata": {"component": root, "properties": [{"name": "cdx:reproducible", "value": "true"}]},
        "components": [*packages, opa, *modules],
        "dependencies": [
            {"ref": root["bom-ref"], "dependsOn": [one["bom-ref"] for one in (*packages, opa)]},
            {"ref": opa["bom-ref"], "dependsOn": [one["bom-ref"] for one in modules]},
        ],
    }
    # Named by what is in it, so that two bills with one number are one bill.
    told = hashlib.sha256(orjson.dumps(content)).hexdigest()
    number = f"{told[:8]}-{told[8:12]}-8{told[13:16]}-a{told[17:20]}-{told[20:32]}"  # a UUID of version 8
    return orjson.dumps({**content, "serialNumber": f"urn:uuid:{number}"}, option=orjson.OPT_INDENT_2) + b"\n"


def hashes(*digests: str) -> list[dict[str, str]]:
    """Return SHA-256 digests as the specification has them."""
    return [{"alg": "SHA-256", "content": digest} for digest in digests]


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _module(one: GoModule, terms: Terms | None) -> Component:
    module = _component(one.path, one.version, f"pkg:golang/{one.path}@{quote(one.version, safe='')}", terms)
    return module | ({"properties": [{"name": "go:sum", "value": one.sum}]} if one.sum else {})


def _component(name: str, version: str, purl: str, terms: Terms | None) -> Component:
    component: Component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return component | ({"licenses": [_licence(terms)]} if terms else {})


def _licence(terms: Terms) -> Component:
    """Return an SPDX identifier, an expression, or else a name: the specification lists the identifiers it takes."""
    if not terms.is_spdx:
        return {"license": {"name": terms.text}}
    return {"license": {"id": terms.text}} if terms.text in IDENTIFIERS else {"expression": terms.text}
