"""A real Prometheus beside a real control plane: it reads what is served, and the shipped alerts fire in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aisecops_server.adapters.git.create import commit_files

from tests.e2e.program import SECONDS, Terminal
from tests.e2e.test_tutorials import free_port
from tests.integration.deploy.test_alerts import ALERTS, rules
from tests.scenes.planes.engines import until

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not PROMETHEUS, reason="no Prometheus: 'make prometheus' installs it where it can"),
]


@dataclass(frozen=True)
class Prometheus:
    """One that runs, by its HTTP API."""

    address: str

    def asked(self, path: str, **query: str) -> Any:
        """Return the data of an answer; nothing while it does not answer yet."""
        try:
            with urllib.request.urlopen(
                f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
            ) as answer:
                return json.load(answer)["data"]
        except urllib.error.URLError:
            return {}

    def value(self, expression: str) -> float | None:
        found = self.asked("query", query=expression).get("result", [])
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> dict[str, str]:
        return {one["labels"]["alertname"]: one["state"] for one in self.asked("alerts").get("alerts", [])}


@contextmanager
def watching(root: Path, target: str) -> Iterator[Prometheus]:
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "aisecops", "static_configs": [{"targets": [target]}]}],
    }
    (root / "prometheus.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    files = [f"--config.file={root / 'prometheus.yaml'}", f"--storage.tsdb.path={root / 'tsdb'}"]
    with (root / "prometheus.err").open("w") as said:
        process = subprocess.Popen([str(PROMETHEUS), *files, f"--web.listen-address={address}"], stderr=said)
        try:
            yield Prometheus(address)
        finally:
            process.terminate()
            process.wait(SECONDS)


@contextmanager
def served(terminal: Terminal, **env: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "serve"],
        env=terminal.environment(**env),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline().startswith("listening on ")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


async def test_it_reads_what_is_served_and_raises_the_alarm_for_policy_that_is_rejected_and_for_who_is_gone(
    home: Path,
) -> None:
    terminal, target = Terminal(home), f"127.0.0.1:{free_port()}"
    env = {"AISECOPS_REPOSITORY": str(home / "policy"), "AISECOPS_METRICS_ADDRESS": target}
    assert terminal.run("dev", "policy", env["AISECOPS_REPOSITORY"]).code == 0
    with watching(home, target) as prometheus:
        with served(terminal, **env):
            size = int(terminal.run("log", "head", "-o", "json").json["size"])
            await until(lambda: prometheus.value("aisecops_log_events") == size)
            await until(
                lambda: len(prometheus.asked("rules").get("groups", [{"rules": []}])[0]["rules"]) == len(rules())
            )
            # Nobody was there when it began to look.
            await until(lambda: prometheus.alerts() == {})
            commit_files(
                home / "policy",
                {"rego/aisecops/decision/decision.rego": b"package broken\n"},
                message="x",
                at_seconds=2,
            )
            refused = terminal.run("bundle", "sync")
            assert refused.code != 0
            await until(lambda: prometheus.alerts() == {"AisecopsPolicyRejected": "firing"})
        await until(lambda: prometheus.alerts().get("AisecopsAbsent") == "pending")
