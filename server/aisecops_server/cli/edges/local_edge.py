"""What the state directory of an edge tells of its policy and of its log, read beside a running edge or without one."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aisecops_server.cli.log.local_log import log_size
from aisecops_server.domain.errors import AisecopsError, NotFoundError

if TYPE_CHECKING:
    from aisecops_server.domain.bundles.release import Release
    from aisecops_server.ports.edges import EdgeReport
    from aisecops_server.settings import Settings

_SECOND_NS = 1_000_000_000


def edge_status(settings: Settings) -> dict[str, Any]:
    """Return what the state directory tells.

    Raises:
        NotFoundError: no edge keeps its state there.
    """
    from aisecops_server.adapters.sqlite.feed_store import edge_report  # noqa: PLC0415

    if not settings.edge_path.exists():
        raise NotFoundError(
            f"no edge keeps its state in {settings.state_dir}", hint="Name the edge's state directory with --state-dir"
        )
    report, size = edge_report(settings.edge_path), log_size(settings)
    policy = _policy(report)
    return {
        "policy": policy,
        "usable": bool(policy and policy["usable"]),
        "log": {"size": size, "reconciled": report.acknowledged},
        "pending": size - report.acknowledged,
        "problems": dict(report.problems),
    }


def _policy(report: EdgeReport) -> dict[str, Any] | None:
    """Return the newest release with its age by the clock of now; nothing is verified, as nothing is decided by it."""
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.domain.bundles.release import read_release  # noqa: PLC0415
    from aisecops_server.domain.edges.policy_age import Instant  # noqa: PLC0415

    for kept in report.releases:
        release: Release | None = None
        with contextlib.suppress(AisecopsError):
            release = read_release(kept.signed.body)
        if release is None:
            continue
        reckoning = kept.reckoning.until(Instant(SystemClock().now_ns(), None))
        age = -(-reckoning.counted_ns // _SECOND_NS)
        confirmed = datetime.fromtimestamp(release.issued_at_seconds, tz=UTC)
        return {
            "edgeId": release.edge_id,
            "revision": release.commit.id,
            "summary": release.commit.summary,
            "digest": release.digest,
            "counter": release.counter,
            "confirmedAt": confirmed.isoformat().replace("+00:00", "Z"),
            "ageSeconds": age,
            "lifetimeSeconds": release.lifetime_seconds,
            "clockSound": reckoning.sound,
            "usable": reckoning.sound and age <= release.lifetime_seconds,
        }
    return None
