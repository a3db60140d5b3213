"""The image that ships, in a real engine: it decides as nobody, without a network, and nothing in it can be written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from aisecops_server.adapters.git.create import create_policy_repository

pytestmark = pytest.mark.timeout(900)

USER = 65532
AGENT = "spiffe://corp.example/agent/support-assistant"
PLAN = {
    "intent": "summarise a ticket",
    "environment": "production",
    "steps": [{"step_id": "read", "tool": "tickets/read", "arguments": {"ticket_id": "T-4711"}}],
    "sources": [{"source_id": "p", "kind": "user_prompt", "content": "Please summarise ticket T-4711."}],
}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A policy repository and a plan, which the container's user may read."""
    folder = tmp_path / "given"
    folder.mkdir()
    create_policy_repository(folder / "policy", at_seconds=1_790_000_000)
    (folder / "plan.json").write_text(json.dumps(PLAN), "utf-8")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    return folder


@contextlib.contextmanager
def running(containers: docker.DockerClient, image: str, given: Path, name: str) -> Iterator[Any]:
    """Run the control plane as the compose file does, without even a network."""
    volume = containers.volumes.create(f"{name}-state")
    container = containers.containers.run(
        image,
        detach=True,
        name=name,
        environment={"AISECOPS_REPOSITORY": "/given/policy"},
        volumes={
            str(given): {"bind": "/given", "mode": "ro"},
            volume.name: {"bind": "/var/lib/aisecops", "mode": "rw"},
        },
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": "rw,noexec,nosuid,nodev,size=64m"},
        network_mode="none",
        mem_limit="1g",
        pids_limit=256,
    )
    try:
        yield container
    finally:
        container.remove(force=True)
        volume.remove(force=True)


def wait_until_it_decides(container: Any) -> None:
    """Ask for its health until it is good; each question waits for its answer."""
    said = ""
    for _ in range(120):
        container.reload()
        assert container.status == "running", container.logs().decode()
        code, output = container.exec_run(["aisecops", "health"])
        if code == 0:
            return
        said = output.decode()
    raise AssertionError(f"{said}\n{container.logs().decode()}")


def asked(container: Any, *line: str, code: int = 0) -> Any:
    found, (output, errors) = container.exec_run(["aisecops", "-o", "json", *line], demux=True)
    assert found == code, (output, errors)
    return json.loads(output)


def test_it_decides_as_nobody_and_keeps_what_it_decided(
    containers: docker.DockerClient, image: str, given: Path
) -> None:
    with running(containers, image, given, "decides") as container:
        wait_until_it_decides(container)
        answer = asked(container, "decide", "-f", "/given/plan.json", "--agent", AGENT)
        assert answer["decision"]["outcome"] == "OUTCOME_ALLOW"
        trace = answer["decision"]["traceId"]
        container.kill()
        container.start()
        wait_until_it_decides(container)
        assert {event["traceId"] for event in asked(container, "trace", "show", trace)["events"]} == {trace}
        assert asked(container, "log", "verify")["ok"] is True


def test_nothing_in_it_can_be_written_and_nobody_in_it_is_root(
    containers: docker.DockerClient, image: str, given: Path
) -> None:
    with running(containers, image, given, "confined") as container:
        wait_until_it_decides(container)
        assert container.exec_run(["id", "-u"])[1].decode().strip() == str(USER)
        for place in ("/opt/aisecops/engine/x", "/opt/aisecops/bin/x", "/etc/x", "/given/x"):
            code, output = container.exec_run(["touch", place])
            assert (code, b"Read-only file system" in output) == (1, True)
        code, output = container.exec_run(["grep", "-h", "^Cap\\(Eff\\|Prm\\|Bnd\\):\\|^NoNewPrivs:", "/proc/1/status"])
        lines = dict(line.split(":\t") for line in output.decode().splitlines())
        assert lines == {"CapPrm": "0" * 16, "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}
        doctor = {check["name"]: check["state"] for check in asked(container, "doctor")["checks"]}
        assert "fail" not in doctor.values(), doctor


def test_a_neighbour_reaches_it_by_its_socket_as_the_same_user_and_as_no_other(
    containers: docker.DockerClient, image: str, given: Path
) -> None:
    with running(containers, image, given, "beside") as container:
        wait_until_it_decides(container)
        shared = {"beside-state": {"bind": "/var/lib/aisecops", "mode": "rw"}}
        line = ["health", "--server", "unix:/var/lib/aisecops/run/aisecops.sock"]
        beside = containers.containers.run(image, line, volumes=shared, network_mode="none", remove=True)
        assert beside.decode().strip() == "SERVING"
        with pytest.raises(docker.errors.ContainerError) as refused:
            containers.containers.run(image, line, volumes=shared, network_mode="none", user="1000:1000", remove=True)
        assert refused.value.exit_status == 8


def test_without_anywhere_for_temporary_files_it_does_not_start_and_says_why(
    containers: docker.DockerClient, image: str
) -> None:
    container = containers.containers.run(image, detach=True, read_only=True, network_mode="none")
    try:
        assert container.wait(timeout=120)["StatusCode"] != 0
        assert b"No usable temporary directory" in container.logs()
        assert b"TMPDIR" in container.logs()
    finally:
        container.remove(force=True)
