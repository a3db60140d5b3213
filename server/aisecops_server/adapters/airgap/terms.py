"""What a package says of its licence, brought to SPDX where it says it in one of the ways that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

_BSD = "BSD"
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
    "bsd license": _BSD,
    "bsd": _BSD,
    "bsd-2-clause": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "isc license (iscl)": "ISC",
    "isc": "ISC",
    "the unlicense (unlicense)": "Unlicense",
}
# The identifiers among them: which BSD licence is meant, nobody says.
IDENTIFIERS = frozenset(SAID.values()) - {_BSD}
_MOST = 60


@dataclass(frozen=True, slots=True)
class Terms:
    """A licence in words; ``is_spdx`` where they are an identifier or an expression of SPDX."""

    text: str
    is_spdx: bool


def terms_of(about: metadata.PackageMetadata) -> Terms | None:
    """Return what a package says of its licence, or nothing where it says nothing."""
    if expressions := about.get_all("License-Expression"):
        return Terms(str(expressions[0]), is_spdx=True)
    classified = [
        str(line).rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if str(line).startswith("License :: OSI Approved :: ")
    ]
    said = "".join(about.get_all("License") or []).strip()
    for words in [said if "\n" not in said and len(said) < _MOST else "", *classified]:
        if known := SAID.get(words.lower()):
            return Terms(known, is_spdx=known in IDENTIFIERS)
    if classified or said:
        return Terms(classified[0] if classified else said.splitlines()[0], is_spdx=False)
    return None
