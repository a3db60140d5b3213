"""The page of licences: what the server stands on, as it is locked, and under which terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

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

# What packages write where an SPDX expression belongs.
SAID: Mapping[str, str] = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "mit license": "MIT",
    "mit": "MIT",
    "the mit license (mit)": "MIT",
    "bsd license": "BSD",
    "bsd": "BSD",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "isc license (iscl)": "ISC",
    "isc": "ISC",
    "the unlicense (unlicense)": "Unlicense",
}
_MOST = 60


@dataclass(frozen=True, slots=True)
class Licensed:
    """A package, its locked version, and its terms as an SPDX expression where it says one."""

    name: str
    version: str
    terms: str


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
        found.append(Licensed(wanted.name, version, _terms(wanted.name, about)))
    return found


def page() -> str:
    """Return the page."""
    return INTRODUCTION + table(
        ["package", "version", "licence"], [[code(one.name), one.version, one.terms] for one in licensed()]
    )


def _terms(name: str, about: metadata.PackageMetadata) -> str:
    if expression := about.get("License-Expression"):
        return str(expression)
    classified = [
        str(line).rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if str(line).startswith("License :: OSI Approved :: ")
    ]
    said = str(about.get("License") or "").strip()
    for words in [said if "\n" not in said and len(said) < _MOST else "", *classified]:
        if known := SAID.get(words.lower()):
            return known
    if classified or said:
        return classified[0] if classified else said.splitlines()[0]
    raise LookupError(f"{name} says nothing of its licence")
