"""Counts in the text format of Prometheus, written by its own client library."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aisecops_server.domain.drift import DriftReport
from aisecops_server.domain.fair_queue import QueueLoad
from aisecops_server.domain.metrics import METRICS
from aisecops_server.usecases.count_events import Snapshot

CONTENT_TYPE = CONTENT_TYPE_LATEST
_PREFIX = "aisecops_"


def exposition(snapshot: Snapshot, load: QueueLoad) -> bytes:
    """Return everything as Prometheus reads it; ``load`` is how full the queue of decisions is."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(snapshot, load))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, snapshot: Snapshot, load: QueueLoad) -> None:
        self._snapshot = snapshot
        self._load = load

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, counters first."""
        for name, (about, labels) in METRICS.items():
            counter = CounterMetricFamily(f"{_PREFIX}{name}", about, labels=labels)
            for values, count in sorted(self._snapshot.counts.series[name].items()):
                counter.add_metric(values, count)
            yield counter
        yield _gauge("log_events", "Events in the log.", self._snapshot.log_events)
        yield _gauge("log_sealed", "Whether the log is sealed, so that nothing is decided.", self._snapshot.sealed)
        yield from _queue(self._load)
        if self._snapshot.drift:
            yield from _drift(self._snapshot.drift)


def _queue(load: QueueLoad) -> Iterator[Metric]:
    yield _gauge("queue_running", "Weight of the decisions that run.", load.running)
    yield _gauge("queue_waiting", "Weight of the decisions that wait for their turn.", load.waiting)
    refused = CounterMetricFamily(
        f"{_PREFIX}queue_refused", "Calls turned away by the queue, by reason and tenant.", labels=("reason", "tenant")
    )
    for (why, tenant), count in sorted(load.refused.items()):
        refused.add_metric((why, tenant), count)
    yield refused


def _drift(report: DriftReport) -> Iterator[Metric]:
    checks = report.fidelity.checks
    again = sum(check.doubt is None for check in checks)
    yield _gauge("drift_checked_seconds", "When drift was looked for, in Unix seconds.", report.checked_at_ns / 1e9)
    if checks:
        yield _gauge("replay_coverage_ratio", "Share of sampled decisions that come out again.", again / len(checks))
    covered = GaugeMetricFamily(
        f"{_PREFIX}replay_coverage", "Sampled decisions, by agent, tool and result.", labels=("agent", "tool", "result")
    )
    for row in report.rows:
        covered.add_metric((row.agent_id, row.tool, "reproduced"), row.reproduced)
        covered.add_metric((row.agent_id, row.tool, "not_reproduced"), row.checked - row.reproduced)
    yield covered
    flips = GaugeMetricFamily(
        f"{_PREFIX}policy_drift",
        "Sampled decisions that would come out otherwise, by policy and direction.",
        labels=("policy", "direction"),
    )
    for policy in report.policies:
        for direction in ("looser", "stricter", "risky", "undecided"):
            flips.add_metric((policy.name, direction), getattr(policy, direction))
    yield flips


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}{name}", about, value=value)
