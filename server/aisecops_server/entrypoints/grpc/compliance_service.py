"""ComplianceService: what a policy maps, and what of it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aisecops.v1 import compliance_service_pb2 as api

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.compliance.compliance import Coverage, Framework, Requirement
from aisecops_server.domain.compliance.compliance_state import (
    FrameworkResult,
    RequirementResult,
    RequirementState,
    Shown,
)
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.usecases.compliance.check_compliance import CheckCompliance

_NAME_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class ComplianceUseCases:
    """What checks compliance, and what is live, which is meant when no revision is named."""

    check: CheckCompliance
    live: Callable[[], Bundle]


@dataclass(frozen=True, slots=True)
class ComplianceService:
    """The handlers of ``aisecops.v1.ComplianceService``. One check runs at a time, others wait their turn."""

    compliance: ComplianceUseCases
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def frameworks(self, request: bytes, _caller: Caller) -> api.ListFrameworksResponse:
        """Answer ListFrameworks."""
        asked = read_message(api.ListFrameworksRequest, request)
        found = await self.compliance.check.mapped(self._revision(asked.revision))
        return api.ListFrameworksResponse(frameworks=[_framework(framework) for framework in found])

    async def framework(self, request: bytes, _caller: Caller) -> api.GetFrameworkResponse:
        """Answer GetFramework."""
        asked = read_message(api.GetFrameworkRequest, request)
        if not asked.framework:
            raise InvalidRequestError(
                "framework: names none", hint="Call ListFrameworks for the ids", field="framework"
            )
        [found] = await self.compliance.check.mapped(
            self._revision(asked.revision), framework=_checked("framework", asked.framework)
        )
        message = _framework(found)
        message.requirements.extend(_requirement(row) for row in found.requirements)
        return api.GetFrameworkResponse(framework=message)

    async def check(self, request: bytes, _caller: Caller) -> api.CheckComplianceResponse:
        """Answer CheckCompliance."""
        asked = read_message(api.CheckComplianceRequest, request)
        framework = _checked("framework", asked.framework)
        async with self.turn:
            report = await self.compliance.check(self._revision(asked.revision), framework=framework)
        return api.CheckComplianceResponse(
            revision=report.revision,
            bundle_digest=report.digest,
            engine_version=report.engine,
            events_read=report.events_read,
            frameworks=[_checked_framework(result) for result in report.frameworks],
            problems=report.problems,
        )

    def _revision(self, named: str) -> str:
        return _checked("revision", named) or self.compliance.live().revision


def _framework(framework: Framework) -> api.Framework:
    levels = [row.coverage for row in framework.requirements]
    return api.Framework(
        framework=framework.id,
        title=framework.title,
        edition=framework.edition,
        publisher=framework.publisher,
        source=framework.source,
        note=framework.note,
        counts=api.RequirementCounts(
            full=levels.count(Coverage.FULL),
            partial=levels.count(Coverage.PARTIAL),
            none=levels.count(Coverage.NONE),
        ),
    )


def _checked_framework(result: FrameworkResult) -> api.Framework:
    message = _framework(result.framework)
    message.counts.holds = result.count(RequirementState.HOLDS)
    message.counts.fails = result.count(RequirementState.FAILS)
    message.counts.not_checked = result.count(RequirementState.NOT_CHECKED)
    message.requirements.extend(_checked_requirement(row) for row in result.requirements)
    return message


def _requirement(row: Requirement) -> api.Requirement:
    return api.Requirement(
        id=row.id,
        title=row.title,
        coverage=row.coverage.value,
        how=row.how,
        gap=row.gap,
        rules=row.rules,
        scenarios=[api.Showing(name=name) for name in row.scenarios],
        checks=[api.Showing(name=name) for name in row.checks],
        events=[api.EventSighting(kind=kind, last_index=-1) for kind in row.events],
    )


def _checked_requirement(result: RequirementResult) -> api.Requirement:
    row = result.requirement
    return api.Requirement(
        id=row.id,
        title=row.title,
        coverage=row.coverage.value,
        how=row.how,
        gap=row.gap,
        state=result.state.value,
        rules=row.rules,
        rules_not_shown=result.unshown,
        scenarios=_showings(result.scenarios),
        checks=_showings(result.checks),
        events=[
            api.EventSighting(kind=sighting.kind, count=sighting.count, last_index=sighting.last_index)
            for sighting in result.sightings
        ],
        problems=result.problems,
    )


def _showings(shown: Sequence[Shown]) -> list[api.Showing]:
    return [
        api.Showing(name=one.name, standing=one.standing.value, detail=one.detail, rules=one.rules) for one in shown
    ]


def _checked(field_name: str, value: str) -> str:
    if len(value) > _NAME_CHARACTERS:
        raise InvalidRequestError(f"{field_name}: too long", field=field_name)
    return value
