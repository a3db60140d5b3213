"""A part of a replay: which decisions it consists of, and what judging them gave.

Whoever judges it, here or on another machine, gets the same bytes, because everything that the answer depends on is
asked: the resolved question, the decisions by their leaf hashes, and the drafts that stand in no commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.replays.recorded_decision import Place
from aisecops_server.domain.replays.replay import Question


@dataclass(frozen=True, slots=True)
class PartAsked:
    """Decisions of a replay, to be judged. ``anew``: whatever is known already does not count."""

    question: Question
    places: tuple[Place, ...]
    anew: bool = False
    drafts: tuple[PolicyTree, ...] = ()

    @property
    def key(self) -> str:
        """Return the name that this part, and no other, has; a longer log does not change it."""
        asked = {name: part for name, part in self.question.as_json().items() if not name.startswith("log_")}
        leaves = hashlib.sha256(b"".join(place.leaf_hash for place in self.places)).hexdigest()
        return digest(canonical_bytes({**asked, "leaves": leaves}))


@dataclass(frozen=True, slots=True)
class PartFound:
    """What became of a part's decisions: sums as ``Tallies`` writes them, and each decision that did not stay the same.

    ``evaluated`` counts the decisions that an engine was asked about; ``transient`` says that one did not answer.
    """

    sums: Mapping[str, JsonValue]
    results: Sequence[Mapping[str, JsonValue]]
    evaluated: int
    transient: bool
