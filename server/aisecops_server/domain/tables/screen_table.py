"""What detections in texts mean, as a table that policy owns: by direction, and by agent where it is another."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.screening.detection import DETECTORS, DetectionKind

Meaning = Literal["block", "review", "redact", "note"]
TextDirection = Literal["prompt", "input", "tool_result", "output"]

DIRECTIONS: tuple[TextDirection, ...] = ("prompt", "input", "tool_result", "output")
# Least restrictive first.
_MEANINGS: tuple[Meaning, ...] = ("note", "redact", "review", "block")


def _known(detector: str) -> str:
    if detector not in DETECTORS:
        raise ValueError(f"there is no detector '{detector}'; there are {', '.join(DETECTORS)}")
    return detector


Detector = Annotated[str, AfterValidator(_known)]


class DirectionEntry(BaseModel):
    """What detections mean in texts that go one way. What is left out blocks or, for an agent, is as for everybody."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    injection: Meaning | None = Field(default=None, description="Text that tries to steer the model.")
    injection_quoted: Meaning | None = Field(
        default=None, description="Such text that is quoted or talked about; it counts only where it is milder."
    )
    secret: Meaning | None = Field(default=None, description="Keys, tokens, passwords.")
    personal: Meaning | None = Field(default=None, description="Data about persons.")
    hidden: Meaning | None = Field(default=None, description="Characters that nobody sees, or that pass for others.")
    detectors: dict[Detector, Meaning] = Field(
        default_factory=dict,
        description="What single detectors mean, quoted or not; this counts before what their kind means.",
    )


class ScreenTable(BaseModel):
    """What detections mean: for everybody by direction, and what is different for single agents."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    everybody: dict[TextDirection, DirectionEntry] = Field(default_factory=dict)
    agents: dict[Annotated[str, Field(min_length=1)], dict[TextDirection, DirectionEntry]] = Field(default_factory=dict)

    def compiled(self) -> dict[str, JsonValue]:
        """Return for each direction and detector what it means, said plainly and quoted."""
        return {
            "everybody": {direction: _meanings([self._of(direction)]) for direction in DIRECTIONS},
            "agents": {
                agent: {direction: _meanings([entry, self._of(direction)]) for direction, entry in entries.items()}
                for agent, entries in self.agents.items()
            },
        }

    def _of(self, direction: TextDirection) -> DirectionEntry:
        return self.everybody.get(direction, DirectionEntry())


def _meanings(entries: list[DirectionEntry]) -> dict[str, JsonValue]:
    """Return the meanings of all detectors; earlier entries count before later ones."""
    return {detector: _meaning(detector, entries) for detector in DETECTORS}


def _meaning(detector: str, entries: list[DirectionEntry]) -> dict[str, JsonValue]:
    kind = detector.partition(".")[0]
    for entry in entries:
        if named := entry.detectors.get(detector):
            return {"plain": named, "quoted": named}
        if plain := getattr(entry, kind):
            break
    else:
        plain = "block"
    quoted = plain
    if kind == DetectionKind.INJECTION.value:
        softer = next((entry.injection_quoted for entry in entries if entry.injection_quoted), plain)
        quoted = min(plain, softer, key=_MEANINGS.index)
    return {"plain": plain, "quoted": quoted}
