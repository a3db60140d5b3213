"""Counts in the text format of Prometheus, written by its own client library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aisecops_server.domain.bundles.channel_standing import ChannelStanding, ChannelState
from aisecops_server.domain.figures.metrics import METRICS
from aisecops_server.domain.replays.drift import DriftReport
from aisecops_server.domain.tenants.fair_queue import QueueLoad
from aisecops_server.usecases.log.count_events import Snapshot

CONTENT_TYPE = CONTENT_TYPE_LATEST
_PREFIX = "aisecops_"


def exposition(snapshots: Mapping[str, Snapshot], load: QueueLoad) -> bytes:
    """Return everything as Prometheus reads it; ``load`` is how full the queue of decisions is.

    ``snapshots`` are by tenant. Of several each is told apart by a label; of one it would say nothing.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(snapshots, load))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, snapshots: Mapping[str, Snapshot], load: QueueLoad) -> None:
        self._snapshots = snapshots
        self._load = load

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, counters first."""
        together: dict[str, Metric] = {}
        for tenant, snapshot in self._snapshots.items():
            labels = {"tenant": tenant} if len(self._snapshots) > 1 else {}
            for metric in _of_log(snapshot):
                found = together.setdefault(metric.name, metric)
                found.samples = [
                    *(found.samples if found is not metric else ()),
                    *(sample._replace(labels={**sample.labels, **labels}) for sample in metric.samples),
                ]
        yield from together.values()
        yield from _queue(self._load)


def _of_log(snapshot: Snapshot) -> Iterator[Metric]:
    for name, (about, labels) in METRICS.items():
        counter = CounterMetricFamily(f"{_PREFIX}{name}", about, labels=labels)
        for values, count in sorted(snapshot.counts.series[name].items()):
            counter.add_metric(values, count)
        yield counter
    yield _gauge("log_events", "Events in the log.", snapshot.log_events)
    yield _gauge("log_sealed", "Whether the log is sealed, so that nothing is decided.", snapshot.sealed)
    yield _gauge("grant_key_missing", "Whether the key that signs grants is not here.", snapshot.keyless)
    if snapshot.missing:
        missing = GaugeMetricFamily(
            f"{_PREFIX}signing_key_missing", "Whether a key that signs is not here, by key.", labels=("key",)
        )
        for key, is_missing in sorted(snapshot.missing.items()):
            missing.add_metric((key,), is_missing)
        yield missing
    if snapshot.channel:
        yield from _channel(snapshot.channel)
    if snapshot.drift:
        yield from _drift(snapshot.drift)


def _queue(load: QueueLoad) -> Iterator[Metric]:
    yield _gauge("queue_running", "Weight of the decisions that run.", load.running)
    yield _gauge("queue_waiting", "Weight of the decisions that wait for their turn.", load.waiting)
    refused = CounterMetricFamily(
        f"{_PREFIX}queue_refused", "Calls turned away by the queue, by reason and tenant.", labels=("reason", "tenant")
    )
    for (why, tenant), count in sorted(load.refused.items()):
        refused.add_metric((why, tenant), count)
    yield refused


def _channel(standing: ChannelStanding) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        f"{_PREFIX}channel_state", "How the channel stands: 1 for the state that it is in.", labels=("channel", "state")
    )
    for each in ChannelState:
        state.add_metric((standing.channel, each.value.lower()), each is standing.state)
    yield state
    if standing.last is None:
        return
    last = standing.last.announcement
    yield _gauge("channel_counter", "Number of the announcement that counted last.", last.counter)
    yield _gauge("channel_expires_seconds", "When it ends, in Unix seconds.", last.expires_at_seconds)
    yield _gauge(
        "channel_closes_seconds", "From when on nothing is allowed, in Unix seconds.", standing.closes_at_seconds
    )


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
