"""Policy as an artefact: a commit of the policy repository, and the signed bundle built from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NewType

from aisecops_server.domain.formats.canonical import JsonValue

CommitId = NewType("CommitId", str)
BundleDigest = NewType("BundleDigest", str)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of the policy repository. ``committed_at_seconds`` is Unix time."""

    id: CommitId
    author: str
    summary: str
    committed_at_seconds: int


@dataclass(frozen=True, slots=True)
class PolicyTree:
    """The files of one commit that belong to its bundle: repository path to content.

    ``drafted`` are the files that stand in no commit; of a tree with any, ``commit`` is only a name for its content.
    """

    commit: CommitId
    files: Mapping[str, bytes]
    drafted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RuleDoc:
    """What a rule says of itself in its METADATA, and where it stands."""

    rule: str
    title: str
    description: str
    effect: str
    severity: str
    owner: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A built, signed bundle. ``digest`` is its identity: a SHA-256 over its sorted content, without the signature.

    ``tools`` are the tools its tables know, for probing. ``tables`` are its compiled tables, as the engine sees them
    under ``data.tables``: what the control plane itself must know of policy (who owns an agent, what a tool's entry
    is) it reads from here, so that it is of the same revision.
    """

    revision: CommitId
    digest: BundleDigest
    archive: Path
    rules: tuple[RuleDoc, ...]
    tools: tuple[str, ...] = ()
    tables: Mapping[str, JsonValue] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Activated:
    """A revision that was made live, by the digest of the bundle that was checked and probed then."""

    revision: CommitId
    digest: BundleDigest


class RevisionState(StrEnum):
    """What a revision is used for now."""

    AVAILABLE = "AVAILABLE"
    LIVE = "LIVE"
    PREVIOUS = "PREVIOUS"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit and what became of it. ``digest`` is empty when it was not built yet."""

    commit: Commit
    state: RevisionState
    digest: str
    problem: str
