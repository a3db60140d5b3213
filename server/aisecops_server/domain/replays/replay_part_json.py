"""Parts of a replay as bytes, for the way to another process and back.

Plain JSON both ways, so that nothing that arrives is ever more than data.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.formats.strict_json import parse_object
from aisecops_server.domain.replays.recorded_decision import Place
from aisecops_server.domain.replays.replay import Question
from aisecops_server.domain.replays.replay_part import PartAsked, PartFound

# Drafts are whole policies, and a part may have changed in every decision.
MOST_BYTES = 64 * 1024 * 1024


def asked_bytes(asked: PartAsked) -> bytes:
    """Return a part that is asked about, as bytes that ``read_asked`` reads."""
    return canonical_bytes(
        {
            "question": asked.question.as_json(),
            "places": [[place.trace, place.index, place.leaf_hash.hex()] for place in asked.places],
            "anew": asked.anew,
            "drafts": [_tree_json(tree) for tree in asked.drafts],
        }
    )


def read_asked(content: bytes) -> PartAsked:
    """Return the part that ``asked_bytes`` wrote.

    Raises:
        InvalidPlanError, KeyError, TypeError, ValueError: it is something else.
    """
    fields: Any = parse_object(content, field="part", limit=MOST_BYTES)
    return PartAsked(
        question=Question.from_json(fields["question"]),
        places=tuple(Place(trace, index, bytes.fromhex(leaf)) for trace, index, leaf in fields["places"]),
        anew=fields["anew"] is True,
        drafts=tuple(map(_tree, fields["drafts"])),
    )


def answer_bytes(found: PartFound) -> bytes:
    """Return what judging gave, as bytes that ``read_answer`` reads."""
    return canonical_bytes(
        {
            "sums": found.sums,
            "results": list(found.results),
            "evaluated": found.evaluated,
            "transient": found.transient,
        }
    )


def failure_bytes(problem: str) -> bytes:
    """Return why nothing could be judged, as bytes that ``read_answer`` reads."""
    return canonical_bytes({"problem": problem})


def read_answer(content: bytes) -> PartFound | str:
    """Return what judging gave, or why it gave nothing.

    Raises:
        InvalidPlanError, KeyError, TypeError, ValueError: it is something else.
    """
    fields: Any = parse_object(content, field="part", limit=MOST_BYTES)
    if "problem" in fields:
        return str(fields["problem"])
    if not isinstance(fields["sums"], dict) or not isinstance(fields["results"], list):
        raise TypeError("no sums or no results")
    return PartFound(fields["sums"], fields["results"], int(fields["evaluated"]), fields["transient"] is True)


def _tree_json(tree: PolicyTree) -> dict[str, JsonValue]:
    files: Mapping[str, JsonValue] = {
        path: base64.b64encode(content).decode() for path, content in sorted(tree.files.items())
    }
    return {"commit": tree.commit, "files": files, "drafted": sorted(tree.drafted)}


def _tree(fields: Any) -> PolicyTree:
    files = {str(path): base64.b64decode(content, validate=True) for path, content in fields["files"].items()}
    return PolicyTree(CommitId(str(fields["commit"])), files, frozenset(map(str, fields["drafted"])))
