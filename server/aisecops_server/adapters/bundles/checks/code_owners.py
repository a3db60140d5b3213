"""Whether the Git host asks for the reviews that ``bundle.yaml`` says a change needs.

Every file of the policy, and any that could be added to a part that ``bundle.yaml`` names, must have at least two
groups in the host's list of owners. So must the files of gates, the list itself and what runs the checks: who may
change what is let pass could else let everything pass. Hosts look for the list in several places and each takes
another one first, so all that are there are held to this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.policy.code_owners import OwnersLine, asked_by_hosts, read_owners
from aisecops_server.domain.policy.policy_check import Problem
from aisecops_server.domain.policy.policy_paths import ACCEPTED_FLIPS, GATES, WAIVERS
from aisecops_server.ports.checking import CheckedPolicy

PLACES = ("CODEOWNERS", ".github/CODEOWNERS", ".gitlab/CODEOWNERS", "docs/CODEOWNERS")
_GATES = (ACCEPTED_FLIPS, GATES, WAIVERS, "conftest/", "cases/", ".github/", ".gitlab-ci.yml")
_LEAST = 2
# A file that nobody made yet: who may add one is asked like who changes one.
_NEW = "new/file"


def problems_of_owners(policy: CheckedPolicy) -> list[Problem]:
    """Return the parts of a policy for whose change a host would not ask two groups."""
    if not policy.owners:
        return [
            Problem(
                "lint.owners",
                "there is no CODEOWNERS, so the Git host asks nobody to review a change",
                hint="'aisecops policy init' writes one; copy it and name your groups",
                path="CODEOWNERS",
                subject="CODEOWNERS",
            )
        ]
    wanted = sorted({*_named(policy), *_GATES, *policy.owners})
    files = sorted({*policy.tree.files, *policy.owners})
    return [
        problem
        for place, content in sorted(policy.owners.items())
        for problem in _problems(place, read_owners(content), wanted, files)
    ]


def _problems(
    place: str, lines: Sequence[OwnersLine], wanted: Sequence[str], files: Sequence[str]
) -> Iterator[Problem]:
    few: dict[tuple[int, frozenset[str]], list[str]] = {}
    for path, name in [*((path, _probe(path, files)) for path in wanted), *zip(files, files, strict=True)]:
        line, groups = asked_by_hosts(name, lines)
        if len(groups) < _LEAST:
            few.setdefault((line, groups), []).append(path)
    for (line, groups), paths in few.items():
        others = sum(not path.startswith(f"{paths[0].rstrip('/')}/") for path in set(paths) - {paths[0]})
        yield Problem(
            "lint.owners",
            f"a change of {paths[0]}{f' and {others} more' if others else ''} needs {_told(groups)};"
            " two groups must look at it",
            hint=f"Write a line for /{paths[0]} with the owner's group and the reviewer's, below every other that fits",
            path=place,
            line=line or 1,
            subject=paths[0],
        )


def _probe(path: str, files: Sequence[str]) -> str:
    """Return the file by which a part is looked up: itself, or one that could be added to it."""
    name = path.strip("/")
    is_folder = path.endswith("/") or (name not in files and not name.endswith((".yaml", ".yml", "CODEOWNERS")))
    return f"{name}/{_NEW}" if is_folder else name


def _named(policy: CheckedPolicy) -> list[str]:
    """Return the paths that ``bundle.yaml`` names, without those that it only names as parts of others."""
    try:
        about = parse_yaml("bundle.yaml", policy.tree.files.get("bundle.yaml", b""))
    except BundleRejectedError:
        return []
    owners = about.get("owners") if isinstance(about, Mapping) else None
    return [str(path) for path in owners] if isinstance(owners, Mapping) else []


def _told(groups: frozenset[str]) -> str:
    return f"only {min(groups)}" if groups else "nobody"
