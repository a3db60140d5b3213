"""Where each argument value of a plan was seen: the facts that provenance rules read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.plan import StepId


@dataclass(frozen=True, slots=True)
class Grounding:
    """What grounding found, in the shapes of the input document.

    ``values`` holds ``ValuePart`` objects by step, ``summary`` is the ``GroundingPart`` and ``request`` the
    ``RequestPart``.
    """

    values: Mapping[StepId, Sequence[JsonValue]]
    summary: JsonValue
    request: JsonValue
