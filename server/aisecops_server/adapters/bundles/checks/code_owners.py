"""Whether the Git host asks for the reviews that ``bundle.yaml`` says a change needs.

Hosts read their own list of owners, of which the last pattern that fits a path counts. Each part that ``bundle.yaml``
names must have at least two groups there, and so must the files of gates and the list itself: who may change what is
let pass could else let everything pass.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.policy.policy_check import Problem
from aisecops_server.domain.policy.policy_paths import ACCEPTED_FLIPS, GATES, WAIVERS
from aisecops_server.ports.checking import CheckedPolicy

PLACES = ("CODEOWNERS", ".github/CODEOWNERS", ".gitlab/CODEOWNERS", "docs/CODEOWNERS")
_GATES = (ACCEPTED_FLIPS, GATES, WAIVERS, "conftest/", "cases/")
_LEAST = 2


def problems_of_owners(policy: CheckedPolicy) -> list[Problem]:
    """Return the parts of a policy for whose change the host would not ask two groups."""
    if not policy.owners_file:
        return [
            Problem(
                "lint.owners",
                "there is no CODEOWNERS, so the Git host asks nobody to review a change",
                hint="'aisecops policy init' writes one; copy it and name your groups",
                path="CODEOWNERS",
                subject="CODEOWNERS",
            )
        ]
    patterns = _patterns(policy.owners)
    wanted = sorted({*_named(policy), *_GATES, policy.owners_file})
    return [
        Problem(
            "lint.owners",
            f"a change of {path} needs {_told(groups)}; two groups must look at it",
            hint=f"Write a line for /{path} with the owner's group and the reviewer's",
            path=policy.owners_file,
            line=line,
            subject=path,
        )
        for path, groups, line in ((path, *_owners(path, patterns)) for path in wanted)
        if len(groups) < _LEAST
    ]


def _named(policy: CheckedPolicy) -> list[str]:
    """Return the paths that ``bundle.yaml`` names, without those that it only names as parts of others."""
    try:
        about = parse_yaml("bundle.yaml", policy.tree.files.get("bundle.yaml", b""))
    except BundleRejectedError:
        return []
    owners = about.get("owners") if isinstance(about, Mapping) else None
    return [str(path) for path in owners] if isinstance(owners, Mapping) else []


def _patterns(content: bytes) -> list[tuple[str, list[str], int]]:
    found = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and not words[0].startswith("["):
            found.append((words[0], words[1:], number))
    return found


def _owners(path: str, patterns: list[tuple[str, list[str], int]]) -> tuple[list[str], int]:
    for pattern, groups, line in reversed(patterns):
        if _fits(path, pattern):
            return sorted(set(groups)), line
    return [], 1


def _fits(path: str, pattern: str) -> bool:
    """Return whether a pattern covers a path; as the hosts read it: a folder, a file, or stars."""
    plain = pattern.removeprefix("/").removesuffix("**").removesuffix("*").rstrip("/")
    if not plain:
        return True
    named = path.rstrip("/")
    return named == plain or named.startswith(f"{plain}/") or fnmatch.fnmatchcase(named, plain)


def _told(groups: list[str]) -> str:
    return f"only {groups[0]}" if groups else "nobody"
