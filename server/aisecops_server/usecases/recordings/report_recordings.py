"""Evaluations of recorded traces in, a report of some time out. Reads what is stored and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.recordings.recorded_report import RecordedReport, Window
from aisecops_server.ports import RecordedTraces

PAGE_TRACES = 200


@dataclass(frozen=True, slots=True)
class ReportRecordings:
    """Reports what one revision would have done to what was recorded."""

    store: RecordedTraces

    async def __call__(self, window: Window, *, revision: str = "") -> RecordedReport:
        """Return the report; without ``revision`` of the only one that was evaluated.

        Raises:
            NotFoundError: nothing was evaluated, or not on that revision.
            InvalidRequestError: several revisions fit.
        """
        report = RecordedReport(await self._revision(revision), window)
        evaluations = {(item.trace_id, item.span_id): item for item in await self.store.evaluations(report.revision)}
        after = ""
        while page := await self.store.page(after=after, limit=PAGE_TRACES):
            after = page[-1].trace_id
            for trace in page:
                report.count(trace, evaluations)
        return report

    async def _revision(self, asked: str) -> str:
        fitting = [name for name in await self.store.revisions() if name.startswith(asked)]
        if not fitting:
            raise NotFoundError(
                "no recorded trace was evaluated on that policy",
                hint="Run 'aisecops trace evaluate' first",
                revision=asked,
            )
        if len(fitting) > 1:
            raise InvalidRequestError(
                f"traces were evaluated on several policies: {', '.join(name[:12] for name in fitting)}",
                hint="Say which one with --revision",
                field="revision",
            )
        return fitting[0]
