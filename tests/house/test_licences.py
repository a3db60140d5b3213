"""What is shipped with asks for notice, or for changes to itself to be given, and for nothing else."""

from __future__ import annotations

import re

from tests.house import tree

# What ``make docs`` writes from the lock and the packages, and another test holds to both.
ROW = re.compile(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
ACCEPTED = {
    "Apache-2.0",
    "BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Public-Domain",
    "any-OSI",
}


def refused(terms: str) -> set[str]:
    """Return the parts of an expression that are not accepted; of alternatives one is enough."""
    bad: set[str] = set()
    for part in re.split(r"\s+and\s+", terms.replace("(", "").replace(")", ""), flags=re.IGNORECASE):
        if not set(re.split(r"\s+or\s+", part, flags=re.IGNORECASE)) & ACCEPTED:
            bad.add(part)
    return bad


def test_every_licence_of_what_is_locked_is_accepted() -> None:
    page = (tree.ROOT / "docs/reference/licences.md").read_text()
    found = {name: refused(terms) for name, terms in ROW.findall(page)}
    assert len(found) > 40
    assert {name: bad for name, bad in found.items() if bad} == {}


def test_a_licence_that_asks_for_more_is_found() -> None:
    assert refused("MIT AND GPL-3.0-only") == {"GPL-3.0-only"}
    assert refused("GPL-2.0-only OR MIT") == set()
    assert refused("AGPL-3.0-or-later") == {"AGPL-3.0-or-later"}
