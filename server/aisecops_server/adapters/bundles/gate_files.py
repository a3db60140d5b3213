"""The files beside policy that say what a change may do and what is let pass; none of them is part of a bundle.

A file that is not there is the cautious one: nothing is let pass.
"""

from __future__ import annotations

from collections.abc import Iterator

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.accepted_flips import AcceptedFlip, AcceptedFlips, Gates
from aisecops_server.domain.policy.dated_entry import read_entries
from aisecops_server.domain.policy.policy_paths import ACCEPTED_FLIPS, GATES, WAIVERS
from aisecops_server.domain.policy.waivers import Waiver, Waivers


def gates_of(tree: PolicyTree) -> Gates:
    """Return the gates of a policy.

    Raises:
        BundleRejectedError: they cannot be read.
    """
    return read_entries(GATES, _content(tree, GATES, {}), Gates)


def accepted_in(tree: PolicyTree) -> tuple[AcceptedFlip, ...]:
    """Return the flips that a policy accepts.

    Raises:
        BundleRejectedError: they cannot be read.
    """
    return tuple(read_entries(ACCEPTED_FLIPS, _content(tree, ACCEPTED_FLIPS, []), AcceptedFlips).root)


def waivers_of(tree: PolicyTree) -> tuple[Waiver, ...]:
    """Return what a policy waives.

    Raises:
        BundleRejectedError: its waivers cannot be read.
    """
    return tuple(read_entries(WAIVERS, _content(tree, WAIVERS, []), Waivers).root)


def broken_gate_files(tree: PolicyTree) -> Iterator[BundleRejectedError]:
    """Yield why files of a policy cannot be read; what cannot be read would stop whoever comes next."""
    for read in (gates_of, accepted_in):
        try:
            read(tree)
        except BundleRejectedError as error:
            yield error


def _content(tree: PolicyTree, path: str, empty: JsonValue) -> JsonValue:
    content = parse_yaml(path, tree.files[path]) if path in tree.files else None
    return empty if content is None else content
