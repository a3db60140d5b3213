"""Whether what is claimed of each requirement holds now: its scenarios and checks were run, and what came out counts.

A requirement holds only while everything that it names passes. One scenario that fails turns it, whatever else passes;
a name that nothing has turns it too, so that a mapping cannot point at what was taken away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.compliance.compliance import Coverage, Framework, Requirement
from aisecops_server.domain.events.event_kinds import EVENT_KINDS
from aisecops_server.domain.formats.canonical import JsonValue


class RequirementState(StrEnum):
    """What became of a requirement."""

    HOLDS = "HOLDS"
    FAILS = "FAILS"
    NOT_CHECKED = "NOT_CHECKED"
    NOT_COVERED = "NOT_COVERED"


class Standing(StrEnum):
    """What became of one thing that shows a requirement."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    NOT_RUN = "NOT_RUN"


@dataclass(frozen=True, slots=True)
class Shown:
    """One scenario or check, what became of it, and what it says. ``rules`` are those that a scenario set off."""

    name: str
    standing: Standing
    detail: str = ""
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sighting:
    """How often the log holds events of a kind, as far as it was read, and the last of them by index (-1: none)."""

    kind: str
    count: int = 0
    last_index: int = -1


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that was looked at, by name. ``rules`` are those of the revision."""

    revision: str
    digest: str
    engine: str
    rules: Collection[str]
    scenarios: Mapping[str, Shown]
    checks: Mapping[str, Shown]
    sightings: Mapping[str, Sighting]
    events_read: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequirementResult:
    """A requirement with what became of it. ``unshown`` are its rules that none of its scenarios set off."""

    requirement: Requirement
    state: RequirementState
    scenarios: tuple[Shown, ...]
    checks: tuple[Shown, ...]
    sightings: tuple[Sighting, ...]
    unshown: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FrameworkResult:
    """A framework with what became of its requirements, in their order."""

    framework: Framework
    requirements: tuple[RequirementResult, ...]

    def count(self, state: RequirementState) -> int:
        """Return how many requirements are in a state."""
        return sum(result.state is state for result in self.requirements)


@dataclass(frozen=True, slots=True)
class ComplianceReport:
    """What holds at one revision.

    ``events_read`` are the latest events among which kinds were looked for; ``problems`` are of no single requirement.
    """

    revision: str
    digest: str
    engine: str
    events_read: int
    frameworks: tuple[FrameworkResult, ...]
    problems: tuple[str, ...] = ()


def judged(frameworks: Sequence[Framework], found: Found) -> ComplianceReport:
    """Return what holds of ``frameworks``, by what was found."""
    results = tuple(
        FrameworkResult(framework, tuple(_result(row, found) for row in framework.requirements))
        for framework in frameworks
    )
    return ComplianceReport(found.revision, found.digest, found.engine, found.events_read, results, found.problems)


def report_json(report: ComplianceReport) -> dict[str, JsonValue]:
    """Return a report as JSON."""
    return {
        "revision": report.revision,
        "bundle_digest": report.digest,
        "engine_version": report.engine,
        "events_read": report.events_read,
        "problems": list(report.problems),
        "frameworks": [_framework_json(result) for result in report.frameworks],
    }


def _result(row: Requirement, found: Found) -> RequirementResult:
    scenarios = tuple(found.scenarios.get(name, _missing(name)) for name in row.scenarios)
    checks = tuple(found.checks.get(name, _missing(name)) for name in row.checks)
    seen = {rule for shown in scenarios for rule in shown.rules}
    problems = (
        *(f"the revision has no rule {rule}" for rule in row.rules if rule not in found.rules),
        *(f"no event is of the kind {kind}" for kind in row.events if kind not in EVENT_KINDS),
        *(f"{shown.name}: {shown.detail}" for shown in (*scenarios, *checks) if shown.standing is Standing.FAILED),
    )
    return RequirementResult(
        row,
        _state(row, (*scenarios, *checks), problems),
        scenarios=scenarios,
        checks=checks,
        sightings=tuple(found.sightings.get(kind, Sighting(kind)) for kind in row.events),
        unshown=tuple(rule for rule in row.rules if rule not in seen),
        problems=problems,
    )


def _state(row: Requirement, shown: Sequence[Shown], problems: Sequence[str]) -> RequirementState:
    if problems:
        return RequirementState.FAILS
    if row.coverage is Coverage.NONE:
        return RequirementState.NOT_COVERED
    if any(one.standing is Standing.NOT_RUN for one in shown):
        return RequirementState.NOT_CHECKED
    return RequirementState.HOLDS


def _missing(name: str) -> Shown:
    return Shown(name, Standing.FAILED, "there is no scenario or check of that name")


def _framework_json(result: FrameworkResult) -> JsonValue:
    framework = result.framework
    return {
        "framework": framework.id,
        "title": framework.title,
        "edition": framework.edition,
        "publisher": framework.publisher,
        "source": framework.source,
        "note": framework.note,
        "requirements": [_requirement_json(row) for row in result.requirements],
    }


def _requirement_json(result: RequirementResult) -> JsonValue:
    row = result.requirement
    return {
        "id": row.id,
        "title": row.title,
        "coverage": row.coverage.value,
        "how": row.how,
        "gap": row.gap,
        "state": result.state.value,
        "rules": list(row.rules),
        "rules_not_shown": list(result.unshown),
        "scenarios": [_shown_json(shown) for shown in result.scenarios],
        "checks": [_shown_json(shown) for shown in result.checks],
        "events": [
            {"kind": sighting.kind, "count": sighting.count, "last_index": sighting.last_index}
            for sighting in result.sightings
        ],
        "problems": list(result.problems),
    }


def _shown_json(shown: Shown) -> JsonValue:
    return {
        "name": shown.name,
        "standing": shown.standing.value,
        "detail": shown.detail,
        "rules": list(shown.rules),
    }
