"""What holds of each requirement at a revision: rows are read from the commit, scenarios decided, checks run.

The rows, the scenarios and the rules are of one commit, so the answer is about that commit. Checks are about the
control plane that runs, now; without one they are not run, and what needs them is not said to hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from aisecops_server.domain.compliance.compliance import DIRECTORY, Framework, chosen, read_frameworks, unknown_mappings
from aisecops_server.domain.compliance.compliance_state import (
    ComplianceReport,
    Found,
    Shown,
    Standing,
    judged,
    report_json,
)
from aisecops_server.domain.errors import AisecopsError, NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.golden_case import GoldenCase, read_cases
from aisecops_server.domain.policy.rule_mappings import Parse, mappings_of
from aisecops_server.ports.assurance import KindCounts
from aisecops_server.usecases.replays.resolve_policy import ResolvedPolicy, ResolvePolicy, WantedPolicy
from aisecops_server.usecases.replays.run_scenarios import RunScenarios

CASES = "cases/"
# Kinds of events are looked for among so many of the latest.
EVENTS_READ = 100_000

RunChecks = Callable[[Collection[str]], Awaitable[dict[str, Shown]]]


@dataclass(frozen=True, slots=True)
class _Mapped:
    """What one commit maps: its frameworks, its scenarios and its rules."""

    frameworks: tuple[Framework, ...]
    cases: tuple[GoldenCase, ...]
    rules: Collection[str]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckCompliance:
    """Reads mappings and checks them. ``checks`` are the names of all live checks, with what each looks at."""

    policies: ResolvePolicy
    scenarios: RunScenarios
    parse: Parse
    checks: Mapping[str, str]
    run_checks: RunChecks | None = None
    kinds: KindCounts | None = None

    async def mapped(self, revision: str, *, framework: str = "") -> tuple[Framework, ...]:
        """Return what the commit that ``revision`` names maps, unchecked.

        Raises:
            UnknownRevisionError, BundleRejectedError: there is no such commit, or it cannot be built or read.
            NotFoundError: it maps nothing, or not this framework.
        """
        return self._mapped(await self.policies(WantedPolicy(revision=revision)), framework).frameworks

    async def __call__(self, revision: str, *, framework: str = "", live: bool = True) -> ComplianceReport:
        """Return what holds at ``revision``; without ``live`` only what the commit itself decides.

        Raises:
            UnknownRevisionError, BundleRejectedError, EngineUnavailableError: it cannot be asked.
            NotFoundError: it maps nothing, or not this framework.
        """
        policy = await self.policies(WantedPolicy(revision=revision))
        mapped = self._mapped(policy, framework)
        rows = [row for found in mapped.frameworks for row in found.requirements]
        named = {name for row in rows for name in row.scenarios}
        if policy.bundle is None:
            raise _nothing_mapped(revision)
        decided = await self.scenarios([case for case in mapped.cases if case.case in named], policy.bundle)
        count, sightings = await self.kinds.kinds(most=EVENTS_READ) if self.kinds and live else (0, ())
        return judged(
            mapped.frameworks,
            Found(
                revision=policy.side.revision,
                digest=policy.side.digest,
                engine=policy.side.engine,
                rules=mapped.rules,
                scenarios=decided,
                checks=await self._checked({name for row in rows for name in row.checks}, live=live),
                sightings={sighting.kind: sighting for sighting in sightings},
                events_read=count,
                problems=mapped.problems,
            ),
        )

    async def decided(self, revision: str) -> Mapping[str, JsonValue]:
        """Return what a commit itself decides, as JSON; a commit that maps nothing or cannot be asked says why."""
        try:
            return report_json(await self(revision, live=False))
        except AisecopsError as error:
            nothing = ComplianceReport(revision, "", "", 0, (), (error.message,))
            return report_json(nothing)

    async def _checked(self, names: Collection[str], *, live: bool) -> dict[str, Shown]:
        known = [name for name in sorted(names) if name in self.checks]
        if self.run_checks is not None and live:
            return await self.run_checks(known)
        return {name: Shown(name, Standing.NOT_RUN, "it looks at a control plane that runs") for name in known}

    def _mapped(self, policy: ResolvedPolicy, framework: str) -> _Mapped:
        files = policy.tree.files if policy.tree else {}
        mappings = mappings_of(files, self.parse)
        frameworks = read_frameworks(self._parsed(files, DIRECTORY), mappings)
        if not frameworks:
            raise _nothing_mapped(policy.side.name)
        return _Mapped(
            chosen(frameworks, framework),
            tuple(case for path, content in self._parsed(files, CASES).items() for case in read_cases(path, content)),
            rules=frozenset(mappings),
            problems=tuple(
                f"the rule {rule} serves {name}, which no framework has"
                for rule, name in unknown_mappings(frameworks, mappings)
            ),
        )

    def _parsed(self, files: Mapping[str, bytes], directory: str) -> dict[str, JsonValue]:
        return {path: self.parse(path, content) for path, content in files.items() if path.startswith(directory)}


def _nothing_mapped(revision: str) -> NotFoundError:
    return NotFoundError(
        f"{revision} maps no framework",
        hint=f"Frameworks stand under {DIRECTORY} of the policy repository; 'aisecops dev policy DIR' has them",
        id=revision[:64],
    )
