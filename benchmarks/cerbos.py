"""What a governed decision costs beside Cerbos, the policy engine that comes closest to a decision service.

    python -m benchmarks.cerbos TRACES --cerbos BINARY [--rounds 7] [--audit local|file|off] [--json FILE]

Without a Cerbos binary nothing is measured, and that is said. It must be 0.55 or newer, for its strict evaluation and
its regular expressions. Targets, all over Unix sockets, in turns, with one load generator; all speak of the same calls:

- `decide`       the control plane as an agent calls it: credential checked, arguments searched for in the sources,
                 decision explained and its event durable before the answer;
- `bare`         OPA over REST with our bundle and the documents that the control plane made of those calls;
- `logging`      the same with OPA's decision log on its console;
- `cerbos`       CheckResources over HTTP with the same documents as attributes, its decision log on;
- `cerbos-grpc`  the same over gRPC.

Read it with this in mind. Cerbos and OPA are given the finished document, while `decide` makes it of the call and the
texts of its sources. Cerbos answers who may do what and which rule refused it; cerbos_policy.py says what it leaves
out. Its log is written some time after the answer, ours before. Both are told to refuse when a rule cannot be
evaluated. How often each side gave each answer is printed: figures for refusals would be no figures.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from aisecops.v1 import decision_pb2, decision_service_pb2
from aisecops_client import Client
from aisecops_server.adapters.git.shipped import shipped_policy
from google.protobuf import struct_pb2
from rich.console import Console
from rich.table import Table

from benchmarks import cerbos_policy, decide, rig
from benchmarks.rig import Target

CHECK = "/api/check/resources"
CHECK_RPC = "/cerbos.svc.v1.CerbosService/CheckResources"
ACTIONS = (cerbos_policy.OUTRIGHT, cerbos_policy.APPROVED)
NAMES = ("decide", "bare", "logging", "cerbos", "cerbos-grpc")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a decision beside Cerbos.")
    parser.add_argument("traces", type=Path)
    parser.add_argument("--cerbos", default="", help="the Cerbos binary; `cerbos` on PATH if left out")
    parser.add_argument("--audit", choices=("local", "file", "off"), default="local", help="where Cerbos records")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=400, help="decisions a round with one client")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    binary = shutil.which(options.cerbos or "cerbos")
    if binary is None and options.cerbos:
        parser.error(f"{options.cerbos} is no program")
    if binary is None:
        print("SKIPPED: no Cerbos on PATH, so nothing was measured beside it; name one with --cerbos", file=sys.stderr)
        return
    console = Console()
    console.print(rig.machine())
    with tempfile.TemporaryDirectory(prefix="aisecops-bench-") as directory:
        results = _measure(console, Path(directory), Path(binary), options)
    if options.json:
        options.json.write_text(json.dumps({"machine": rig.machine(), **results}, indent=1))


def _measure(console: Console, scratch: Path, binary: Path, options: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {}
    with decide.started(scratch, options.traces) as bench, _cerbos(binary, scratch, bench, options.audit) as peers:
        targets = {**bench.targets, **peers}
        results["answers"] = _show_answers(console, targets)
        for title, clients, requests in (("one client", 1, options.requests), ("32 clients", 32, options.requests * 4)):
            chosen = [targets[name] for name in NAMES]
            measured = rig.in_turns(bench.loadgen, chosen, rounds=options.rounds, clients=clients, requests=requests)
            results[title] = decide.show(console, title, measured, "bare")
            results[title]["decide ÷ peer"] = {
                peer: rig.median(rig.ratios(measured, "decide", to=peer, of="rate")) for peer in peers
            }
            told = ", ".join(f"{ratio:.2f} × {peer}" for peer, ratio in results[title]["decide ÷ peer"].items())
            console.print(f"decisions/s of decide, {title}: {told}")
        results["answers afterwards"] = _show_answers(console, targets)
    records = [path for path in (scratch / "cerbos-audit").rglob("*") if path.is_file()]
    console.print(f"Cerbos recorded {sum(path.stat().st_blocks for path in records) / 2048:.1f} MiB")
    return results


@contextlib.contextmanager
def _cerbos(binary: Path, scratch: Path, bench: decide.Bench, audit: str) -> Iterator[dict[str, Target]]:
    """Run Cerbos on the shipped policy and yield what it answers on."""
    configuration = scratch / "cerbos.json"
    configuration.write_text(json.dumps(_configuration(scratch, audit)))
    environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), "GOGC": "400"}
    documents = [json.loads(body)["input"] for body in rig.read_payloads(bench.targets["bare"].payloads)]
    bodies = rig.write_payloads(scratch / "cerbos-http.bin", [_http_request(document) for document in documents])
    messages = rig.write_payloads(scratch / "cerbos-grpc.bin", [_grpc_request(document) for document in documents])
    command = [str(binary), "server", f"--config={configuration}", "--log-level=error"]
    with (scratch / "cerbos.log").open("wb") as log, rig.running(command, environment, log):
        try:
            rig.wait_for_socket(scratch / "cerbos.http")
        except rig.LoadFailedError as error:
            raise rig.LoadFailedError(f"{error}: {(scratch / 'cerbos.log').read_text()}") from error
        yield {
            "cerbos": Target("cerbos", "rest", scratch / "cerbos.http", CHECK, bodies, expect='"results"'),
            "cerbos-grpc": Target("cerbos-grpc", "grpc", scratch / "cerbos.grpc", CHECK_RPC, messages),
        }


def _configuration(scratch: Path, audit: str) -> dict[str, Any]:
    directory, records = scratch / "cerbos-policies", scratch / "cerbos-audit"
    directory.mkdir()
    records.mkdir()
    for name, content in cerbos_policy.policies(shipped_policy()).items():
        (directory / name).write_text(content)
    return {
        "server": {"httpListenAddr": f"unix:{scratch}/cerbos.http", "grpcListenAddr": f"unix:{scratch}/cerbos.grpc"},
        "engine": {"strictEvaluation": True, "celErrorLogLevel": "none"},
        "storage": {"driver": "disk", "disk": {"directory": str(directory), "watchForChanges": False}},
        "telemetry": {"disabled": True},
        "audit": {
            "enabled": audit != "off",
            "backend": "file" if audit == "file" else "local",
            "decisionLogsEnabled": True,
            "accessLogsEnabled": False,
            "local": {"storagePath": str(records)},
            "file": {"path": str(records / "decisions.log")},
        },
    }


# --- the same document in Cerbos' words --------------------------------------------------------------------------


def _http_request(document: Mapping[str, Any]) -> bytes:
    resource = {"kind": cerbos_policy.RESOURCE, "id": document["plan"]["id"], "attr": _attributes(document)}
    principal = {"id": document["principal"]["id"], "roles": [cerbos_policy.ROLE]}
    request = {"principal": principal, "resources": [{"actions": ACTIONS, "resource": resource}]}
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()


def _grpc_request(document: Mapping[str, Any]) -> bytes:
    """Return the request message. It is written field by field: for one message no description is worth its while."""
    values = struct_pb2.Struct()
    values.update(_attributes(document))
    attributes = b"".join(
        _field(4, _field(1, name.encode()) + _field(2, value.SerializeToString()))
        for name, value in values.fields.items()
    )
    resource = _field(1, cerbos_policy.RESOURCE.encode()) + _field(3, document["plan"]["id"].encode()) + attributes
    principal = _field(1, document["principal"]["id"].encode()) + _field(3, cerbos_policy.ROLE.encode())
    actions = b"".join(_field(1, action.encode()) for action in ACTIONS)
    return _field(3, principal) + _field(4, actions + _field(2, resource))


def _attributes(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "principal"}


def _field(number: int, content: bytes) -> bytes:
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


# --- what was answered ---------------------------------------------------------------------------------------------


def _show_answers(console: Console, targets: Mapping[str, Target]) -> dict[str, Any]:
    """Ask every target once for every call, and tell how its answers agree with ours."""
    answers = {
        "decide": _decided(targets["decide"]),
        "bare": _answered(targets["bare"], _opa_outcome),
        "cerbos": _answered(targets["cerbos"], _cerbos_outcome),
        "cerbos-grpc": _answered_rpc(targets["cerbos-grpc"]),
    }
    table = Table(title="answers")
    summary: dict[str, Any] = {}
    kinds = ("ALLOW", "REQUIRE_APPROVAL", "DENY")
    for heading in ("target", *kinds, "as decide"):
        table.add_column(heading)
    for name, given in answers.items():
        counts = Counter(given)
        same = sum(map(str.__eq__, given, answers["decide"]))
        summary[name] = {**{kind: counts[kind] for kind in kinds}, "as_decide": same, "calls": len(given)}
        shares = [f"{counts[kind]} ({100 * counts[kind] / len(given):.0f} %)" for kind in kinds]
        table.add_row(name, *shares, f"{same} of {len(given)}")
    console.print(table)
    return summary


def _decided(target: Target) -> list[str]:
    requests = map(decision_service_pb2.DecideRequest.FromString, rig.read_payloads(target.payloads))
    with Client.connect(f"unix:{target.socket}", target.token) as client:
        outcomes = [client.decide(request.plan).decision.outcome for request in requests]
    return [decision_pb2.Outcome.Name(outcome).removeprefix("OUTCOME_") for outcome in outcomes]


def _answered(target: Target, outcome: Any) -> list[str]:
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(target.socket))
    answers = []
    with contextlib.closing(connection):
        for body in rig.read_payloads(target.payloads):
            connection.request("POST", target.path, body, {"Content-Type": "application/json"})
            answers.append(outcome(json.loads(connection.getresponse().read())))
    return answers


def _opa_outcome(answer: Mapping[str, Any]) -> str:
    return str(answer["result"]["outcome"])


def _cerbos_outcome(answer: Mapping[str, Any]) -> str:
    actions = answer["results"][0]["actions"]
    return _outcome([action for action in ACTIONS if actions[action] == "EFFECT_ALLOW"])


def _answered_rpc(target: Target) -> list[str]:
    with grpc.insecure_channel(f"unix:{target.socket}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(target.path)
        replies = [call(body) for body in rig.read_payloads(target.payloads)]
    return [_outcome([action for action in ACTIONS if _entry(action) in reply]) for reply in replies]


def _entry(action: str) -> bytes:
    """Return how an allowed action is written in a reply: its name, and the effect 1."""
    return _field(1, action.encode()) + b"\x10\x01"


def _outcome(allowed: Sequence[str]) -> str:
    if cerbos_policy.APPROVED not in allowed:
        return "DENY"
    return "ALLOW" if cerbos_policy.OUTRIGHT in allowed else "REQUIRE_APPROVAL"


if __name__ == "__main__":
    main()
