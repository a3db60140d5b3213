"""What is shipped to deploy holds our conditions, names only settings that there are, and bad files are found out."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aisecops_server.bootstrap.policy import conftest_program
from aisecops_server.settings import Settings

from tests.support import opa_binary

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
CENTRAL = "kubernetes/central/control-plane.yaml"
AGENT = "kubernetes/sidecar/agent.yaml"
COMPOSE = "compose/central.yaml"
POD = ["spec", "template", "spec"]
FIRST = [*POD, "containers", 0]
SERVICE = ["services", "control-plane"]

Files = dict[str, Any]


def shipped() -> Files:
    """Return every file that people deploy, read, by its path below ``deploy``."""
    paths = sorted(path for folder in ("kubernetes", "compose") for path in (DEPLOY / folder).rglob("*.yaml"))
    return {path.relative_to(DEPLOY).as_posix(): yaml.safe_load(path.read_text("utf-8")) for path in paths}


def by_engine(files: Files, root: Path) -> list[Mapping[str, Any]]:
    """Return what the conditions say of files, asked of the engine."""
    (root / "input.json").write_text(json.dumps([{"path": path, "contents": made} for path, made in files.items()]))
    arguments = ["eval", "--format", "json", "-d", "conftest", "-i", str(root / "input.json"), "data.conftest"]
    done = subprocess.run([opa_binary(), *arguments], cwd=ROOT, capture_output=True, check=True, timeout=120)
    return ordered(_said(json.loads(done.stdout)["result"][0]["expressions"][0]["value"]))


def _said(value: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name in {"deny", "warn"} and isinstance(inner, list):
            yield from inner
        else:
            yield from _said(inner)


def by_conftest(files: Files, root: Path, program: Path) -> list[Mapping[str, Any]]:
    """Return what the conditions say of files, asked of Conftest."""
    for path, made in files.items():
        file = root / "files" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(made), "utf-8")
    arguments = ["test", "--combine", "--all-namespaces", "--no-fail", "-o", "json", "-p", str(ROOT / "conftest")]
    done = subprocess.run(
        [program, *arguments, *files],
        cwd=root / "files",
        env={"HOME": str(root)},
        capture_output=True,
        check=True,
        timeout=120,
    )
    found = [each for result in json.loads(done.stdout) for each in result.get("failures") or []]
    return ordered({**_without_query(each["metadata"]), "msg": each["msg"]} for each in found)


def _without_query(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != "query"}


def ordered(found: Iterator[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(found, key=lambda each: json.dumps(each, sort_keys=True))


@dataclass(frozen=True)
class Bad:
    """One thing made worse, and the whole of what is said of it."""

    what: str
    path: str
    change: Callable[[Any], None]
    code: str
    keys: list[str | int]
    subject: str
    msg: str
    hint: str


def at(document: Any, keys: list[str | int]) -> Any:
    for key in keys:
        document = document[key]
    return document


def put(keys: list[str | int], value: object) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        at(document, keys[:-1])[keys[-1]] = value

    return change


def drop(keys: list[str | int]) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        del at(document, keys[:-1])[keys[-1]]

    return change


NO_ROOT = "Give it a user of its own: runAsNonRoot and runAsUser in Kubernetes, user in compose"
CLOSE = "Add a NetworkPolicy for all pods of its namespace (podSelector: {}) that closes Ingress and Egress"
PROBE = "Run 'aisecops health' for readiness and 'aisecops health --alive' for liveness"
WHICH = "Name it by digest (@sha256:...), or at least by a version"
READ_ONLY = "Make it read-only, and mount what has to be written"
FILE = "Mount it as a file, from where secrets are kept"
NOTHING = "Take it away; nothing here needs it"
BAD = [
    Bad(
        "a pod as root",
        CENTRAL,
        drop([*POD, "securityContext", "runAsNonRoot"]),
        "deployment.root",
        [*FIRST, "securityContext"],
        "control-plane",
        "control-plane may run as root",
        NO_ROOT,
    ),
    Bad(
        "a container as root, whatever its pod says",
        CENTRAL,
        put([*FIRST, "securityContext", "runAsUser"], 0),
        "deployment.root",
        [*FIRST, "securityContext"],
        "control-plane",
        "control-plane may run as root",
        NO_ROOT,
    ),
    Bad(
        "a service without a user",
        COMPOSE,
        drop([*SERVICE, "user"]),
        "deployment.root",
        [*SERVICE, "user"],
        "control-plane",
        "control-plane may run as root",
        NO_ROOT,
    ),
    Bad(
        "a root file system that can be written",
        CENTRAL,
        put([*FIRST, "securityContext", "readOnlyRootFilesystem"], value=False),
        "deployment.writable",
        [*FIRST, "securityContext"],
        "control-plane",
        "the root file system of control-plane can be written",
        READ_ONLY,
    ),
    Bad(
        "a service that can be written",
        COMPOSE,
        drop([*SERVICE, "read_only"]),
        "deployment.writable",
        [*SERVICE, "read_only"],
        "control-plane",
        "the root file system of control-plane can be written",
        READ_ONLY,
    ),
    Bad(
        "a privileged container",
        CENTRAL,
        put([*FIRST, "securityContext", "privileged"], value=True),
        "deployment.privileges",
        [*FIRST, "securityContext"],
        "control-plane",
        "control-plane is privileged",
        "Take privileged away",
    ),
    Bad(
        "a capability",
        CENTRAL,
        put([*FIRST, "securityContext", "capabilities", "add"], ["NET_ADMIN"]),
        "deployment.privileges",
        [*FIRST, "securityContext"],
        "control-plane",
        "control-plane adds the capability NET_ADMIN",
        "Take it away; a port above 1024 needs none",
    ),
    Bad(
        "capabilities that are kept",
        CENTRAL,
        drop([*FIRST, "securityContext", "capabilities"]),
        "deployment.privileges",
        [*FIRST, "securityContext"],
        "control-plane",
        "control-plane keeps capabilities",
        "Drop them: capabilities.drop [ALL]",
    ),
    Bad(
        "every system call",
        CENTRAL,
        drop([*POD, "securityContext", "seccompProfile"]),
        "deployment.privileges",
        [*FIRST, "securityContext"],
        "control-plane",
        "control-plane may make every system call",
        "Set seccompProfile.type to RuntimeDefault",
    ),
    Bad(
        "a service that may become more",
        COMPOSE,
        put([*SERVICE, "security_opt"], []),
        "deployment.privileges",
        SERVICE,
        "control-plane",
        "control-plane may get rights that it does not have",
        'Write security_opt: ["no-new-privileges:true"]',
    ),
    *(
        Bad(
            f"the image {image or 'that is missing'}",
            CENTRAL,
            put([*FIRST, "image"], image),
            "deployment.image",
            [*FIRST, "image"],
            "control-plane",
            f"control-plane runs {image or 'no image that is named'}, which may be another image tomorrow",
            WHICH,
        )
        for image in ("aisecops", "aisecops:latest", "registry.example:5000/aisecops", "aisecops:stable", "")
    ),
    Bad(
        "no end to its memory",
        CENTRAL,
        drop([*FIRST, "resources", "limits"]),
        "deployment.limits",
        [*FIRST, "resources"],
        "control-plane",
        "control-plane has no limits.memory",
        "Say how much it may take",
    ),
    Bad(
        "no end to a service's processes",
        COMPOSE,
        drop([*SERVICE, "pids_limit"]),
        "deployment.limits",
        SERVICE,
        "control-plane",
        "control-plane has no pids_limit",
        "Say how much it may take",
    ),
    Bad(
        "a container that nobody asks",
        CENTRAL,
        drop([*FIRST, "livenessProbe"]),
        "deployment.probes",
        FIRST,
        "control-plane",
        "control-plane has no livenessProbe",
        PROBE,
    ),
    Bad(
        "the machine's network",
        AGENT,
        put([*POD, "hostNetwork"], value=True),
        "deployment.host",
        [*POD, "hostNetwork"],
        "shop-agent",
        "shop-agent shares hostNetwork with its machine",
        NOTHING,
    ),
    Bad(
        "a path of the machine",
        AGENT,
        put([*POD, "volumes", 3], {"name": "tmp", "hostPath": {"path": "/"}}),
        "deployment.host",
        [*POD, "volumes", 3],
        "shop-agent",
        "shop-agent shares a path of its machine with its machine",
        NOTHING,
    ),
    Bad(
        "the socket of the machine's containers",
        COMPOSE,
        put([*SERVICE, "volumes", 1], "/var/run/docker.sock:/var/run/docker.sock"),
        "deployment.host",
        [*SERVICE, "volumes", 1],
        "control-plane",
        "control-plane shares the engine's socket with its machine",
        NOTHING,
    ),
    Bad(
        "all of the machine",
        COMPOSE,
        put([*SERVICE, "volumes", 1], {"type": "bind", "source": "/", "target": "/host"}),
        "deployment.host",
        [*SERVICE, "volumes", 1],
        "control-plane",
        "control-plane shares / with its machine",
        NOTHING,
    ),
    Bad(
        "a secret in a list",
        COMPOSE,
        put([*SERVICE, "environment"], ["AISECOPS_BRANCH=main", "GIT_TOKEN=not so secret"]),
        "deployment.secrets",
        [*SERVICE, "environment", 1],
        "control-plane",
        "GIT_TOKEN is a secret in plain words",
        FILE,
    ),
    Bad(
        "a key to the cluster",
        AGENT,
        drop([*POD, "automountServiceAccountToken"]),
        "deployment.token",
        [*POD, "automountServiceAccountToken"],
        "shop-agent",
        "shop-agent is given a token of the cluster",
        "Set automountServiceAccountToken to false",
    ),
    Bad(
        "a network that is only half closed",
        "kubernetes/base/closed.yaml",
        put(["spec", "policyTypes"], ["Ingress"]),
        "deployment.network",
        POD,
        "control-plane",
        "everybody may reach control-plane, and it everybody",
        CLOSE,
    ),
    Bad(
        "a network that is closed and opened to all in one",
        "kubernetes/base/closed.yaml",
        put(["spec", "ingress"], [{}]),
        "deployment.network",
        POD,
        "control-plane",
        "everybody may reach control-plane, and it everybody",
        CLOSE,
    ),
    Bad(
        "a secret in plain words",
        CENTRAL,
        put([*FIRST, "env", 1], {"name": "GIT_TOKEN", "value": "not so secret"}),
        "deployment.secrets",
        [*FIRST, "env", 1],
        "control-plane",
        "GIT_TOKEN is a secret in plain words",
        FILE,
    ),
    Bad(
        "a secret of a service in plain words",
        COMPOSE,
        put([*SERVICE, "environment", "GIT_TOKEN"], "not so secret"),
        "deployment.secrets",
        [*SERVICE, "environment", "GIT_TOKEN"],
        "control-plane",
        "GIT_TOKEN is a secret in plain words",
        FILE,
    ),
]


def test_what_is_shipped_holds_every_condition(tmp_path: Path) -> None:
    assert len(shipped()) > 12
    assert by_engine(shipped(), tmp_path) == []


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.what)
def test_what_is_worse_is_said_with_its_place_and_what_to_do(tmp_path: Path, bad: Bad) -> None:
    files = copy.deepcopy(shipped())
    bad.change(files[bad.path])
    where = CENTRAL if bad.code == "deployment.network" else bad.path
    expected = {
        "code": bad.code,
        "path": where,
        "keys": bad.keys,
        "subject": bad.subject,
        "msg": bad.msg,
        "hint": bad.hint,
    }
    assert by_engine(files, tmp_path) == [expected]


def test_conftest_says_what_the_engine_says(tmp_path: Path) -> None:
    program = conftest_program()
    if program is None:
        pytest.skip("Conftest is not installed: make conftest")
    assert by_conftest(shipped(), tmp_path, program) == []
    files = copy.deepcopy(shipped())
    for bad in BAD:
        if not bad.what.startswith(("the image", "a path", "all of", "a secret in a list", "a container that")):
            bad.change(files[bad.path])
    said = by_conftest(files, tmp_path, program)
    assert len({each["code"] for each in said}) > 7
    assert said == by_engine(files, tmp_path)


@pytest.mark.parametrize("name", ["central", "sidecar"])
def test_what_kustomize_makes_of_it_holds_them_too(tmp_path: Path, name: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    arguments = [kubectl, "kustomize", str(DEPLOY / "kubernetes" / name)]
    made = subprocess.run(arguments, capture_output=True, check=True, timeout=120).stdout
    objects = list(yaml.safe_load_all(made))
    assert {"Namespace", "NetworkPolicy", "StatefulSet"} <= {each["kind"] for each in objects}
    files = {f"{number}.yaml": each for number, each in enumerate(objects)}
    assert by_engine(files, tmp_path) == []
    [workload] = [each for each in objects if each["kind"] == "StatefulSet"]
    images = [container["image"] for container in workload["spec"]["template"]["spec"]["containers"]]
    assert "aisecops:0.1.0" in images


def test_every_setting_that_is_named_is_one() -> None:
    known = set(Settings.model_fields)
    texts = {path: path.read_text("utf-8") for path in DEPLOY.rglob("*") if path.is_file()}
    own = {"AISECOPS_CONFIG", "AISECOPS_SERVER", "AISECOPS_NAME"}
    named = {(path.name, found) for path, text in texts.items() for found in re.findall(r"\bAISECOPS_[A-Z_]+\b", text)}
    assert named
    assert {
        each for each in named if each[1] not in own and each[1].removeprefix("AISECOPS_").lower() not in known
    } == set()
    for path in ("kubernetes/central/settings.yaml", "kubernetes/sidecar/settings.yaml"):
        settings = yaml.safe_load(shipped()[path]["data"]["settings.yaml"])
        assert Settings.model_validate(settings)


def test_units_are_sound(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    units = sorted((DEPLOY / "systemd").glob("*.service"))
    assert len(units) == 2
    for unit in units:
        text = unit.read_text("utf-8").replace("/opt/aisecops/bin/aisecops", sys.executable)
        (tmp_path / unit.name).write_text(text, "utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(tmp_path / unit.name) for unit in units)],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


def test_the_image_ends_as_nobody_with_everything_locked() -> None:
    lines = (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    stages = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    last = lines[stages[-1] :]
    assert [line for line in last if line.startswith("USER ")] == ["USER 65532:65532"]
    assert last.index("USER 65532:65532") > max(n for n, line in enumerate(last) if line.startswith("RUN "))
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    assert not [line for line in lines if line.startswith("ADD ") or "curl" in line or "latest" in line]
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+", "\n".join(lines), re.MULTILINE)
