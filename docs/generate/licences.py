"""The page of licences: what the server stands on, as it is locked, and under which terms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from aisecops_server.adapters.airgap.terms import Terms, terms_of
from packaging.requirements import Requirement

from docs.generate.markdown import code, table

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "server.lock"

INTRODUCTION = """# Licences

What `requirements/server.lock` brings to a control plane with everything it offers, by what each package says of
itself. The engine beside it is Open Policy Agent, Apache-2.0. AISecOps itself is Apache-2.0. A test holds this list to
licences that ask for no more than notice, or for changes to the package itself to be given (MPL-2.0); nothing of it is
changed here.

"""


@dataclass(frozen=True, slots=True)
class Licensed:
    """A package, its locked version, and its terms."""

    name: str
    version: str
    terms: Terms


def licensed() -> list[Licensed]:
    """Return every locked package with its terms; those of the wrong version or without terms are an error.

    Raises:
        LookupError: a package is not installed as it is locked, or says nothing of its terms.
    """
    found = []
    for line in re.findall(r"^[A-Za-z0-9][^#\\\n]*", LOCK.read_text("utf-8"), re.MULTILINE):
        wanted = Requirement(line.strip())
        if wanted.marker and not wanted.marker.evaluate():
            continue  # for another system or another Python
        about, version = metadata.metadata(wanted.name), str(wanted.specifier).removeprefix("==")
        if about["Version"] != version:
            raise LookupError(f"{wanted.name} is {about['Version']} here and locked as {version}: run 'make setup'")
        if (terms := terms_of(about)) is None:
            raise LookupError(f"{wanted.name} says nothing of its licence")
        found.append(Licensed(wanted.name, version, terms))
    return found


def page() -> str:
    """Return the page."""
    return INTRODUCTION + table(
        ["package", "version", "licence"], [[code(one.name), one.version, one.terms.text] for one in licensed()]
    )
