"""Golden cases in, what became of each out: decided by a real engine on the bundle of one revision.

It is handed a policy to read, an engine to ask and nothing that acts. A case that cannot be decided has failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.compliance.compliance_state import Shown, Standing
from aisecops_server.domain.decisions.decision import Conclusion, Verdict, conclude
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.golden_case import Asked, GoldenCase, asked, difference
from aisecops_server.ports.replay import Engines

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class RunScenarios:
    """Decides golden cases. ``deadline_seconds`` is what one of them may take."""

    engines: Engines
    deadline_seconds: float

    async def __call__(self, cases: Sequence[GoldenCase], bundle: Bundle) -> dict[str, Shown]:
        """Return what became of each case, by its name.

        Raises:
            BundleRejectedError, EngineUnavailableError: there is no engine for the bundle.
        """
        ready = await self.engines.acquire(bundle, engine=self.engines.engine)
        found: dict[str, Shown] = {}
        for at in range(0, len(cases), _AT_ONCE):
            part = [(case, _question(case, bundle.tables)) for case in cases[at : at + _AT_ONCE]]
            documents = [item.document for _, item in part if isinstance(item, Asked)]
            waiting = self.deadline_seconds * len(documents)
            answers = iter(await ready.evaluate_batch(documents, deadline_seconds=waiting))
            for case, item in part:
                found[case.case] = (
                    _shown(case, _concluded(item, next(answers), bundle)) if isinstance(item, Asked) else item
                )
        # A second case of the same name could stand in for one that fails.
        names = Counter(case.case for case in cases)
        twice = {name: Shown(name, Standing.FAILED, "the name stands twice") for name in names if names[name] > 1}
        return {**found, **twice}


def _question(case: GoldenCase, tables: Mapping[str, JsonValue]) -> Asked | Shown:
    try:
        return asked(case, tables)
    except (AisecopsError, ValueError) as error:
        return Shown(case.case, Standing.FAILED, f"it is no plan and no text: {error}")


def _concluded(item: Asked, answer: Verdict | AisecopsError, bundle: Bundle) -> Conclusion | AisecopsError:
    if isinstance(answer, AisecopsError):
        return answer
    try:
        return conclude(answer, step_ids=item.step_ids, expected_revision=bundle.revision)
    except AisecopsError as error:
        return error


def _shown(case: GoldenCase, answer: Conclusion | AisecopsError) -> Shown:
    problem = difference(case, answer)
    if problem or isinstance(answer, AisecopsError):
        return Shown(case.case, Standing.FAILED, problem)
    rules = tuple(sorted({finding.rule for finding in answer.findings}))
    return Shown(case.case, Standing.PASSED, answer.outcome.value, rules)
