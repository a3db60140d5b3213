"""Which commit a name means. Whoever may push chooses the names of branches and tags, so one that means two means none.

A branch that is called like the tag of a release, like a proposal or like the beginning of somebody's commit id would
else be taken for it. A whole commit id means that commit, whatever is called like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aisecops_server.adapters.git.runner import Bounds, HardenedGit
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.errors import UnknownRevisionError

_SECONDS = 30.0
_WHOLE = re.compile(r"[0-9a-f]{40}")
_ABBREVIATION = re.compile(r"[0-9a-f]{7,39}")


def meant(git: HardenedGit, name: str, before: int, *, places: Sequence[Sequence[str]]) -> CommitId | None:
    """Return the commit so many ``before`` the one that ``name`` means, or ``None`` when it means none.

    ``places`` are the references that may have that name. Of each part the first that is there counts, and the parts
    must agree.

    Raises:
        UnknownRevisionError: they do not.
    """
    if _WHOLE.fullmatch(name):
        return peeled(git, name, before)
    named = [found for part in places if (found := _first(git, part))]
    if _ABBREVIATION.fullmatch(name):
        named += _begun(git, name) if named else filter(None, [peeled(git, name)])
    if len(set(named)) > 1:
        raise UnknownRevisionError(
            f"{name[:80]} is the name of several commits: {', '.join(each[:12] for each in dict.fromkeys(named))}",
            hint="Give the whole id of the one that you mean",
            revision=name[:80],
        )
    return peeled(git, named[0], before) if named and before else next(iter(named), None)


def peeled(git: HardenedGit, name: str, before: int = 0) -> CommitId | None:
    """Return the commit so many ``before`` the one that Git finds under ``name``, or ``None``."""
    wanted = f"{name}^{{commit}}~{before}"
    done = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", wanted, bounds=Bounds(_SECONDS))
    found = done.output.decode("ascii", "replace").strip()
    return CommitId(found) if done.code == 0 and _WHOLE.fullmatch(found) else None


def _first(git: HardenedGit, references: Sequence[str]) -> CommitId | None:
    return next(filter(None, (peeled(git, reference) for reference in references)), None)


def _begun(git: HardenedGit, start: str) -> Iterator[CommitId]:
    """Yield the commits whose ids begin so; Git itself would rather take the branch of that name."""
    done = git.run("rev-parse", f"--disambiguate={start}", bounds=Bounds(_SECONDS))
    for object_id in done.output.decode("ascii", "replace").split():
        if peeled(git, object_id) == object_id:
            yield CommitId(object_id)
