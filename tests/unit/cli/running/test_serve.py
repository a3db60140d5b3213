"""What ``aisecops serve`` prepares before anything else is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

from aisecops_server.cli.running.serve import GRPC_SWITCHES, WITHOUT_POOL

_STARTS_A_SERVER = """
import asyncio, grpc
async def main():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await server.stop(None)
asyncio.run(main())
"""


def test_grpc_is_not_loaded_before_its_switches_are_set() -> None:
    assert _run("import sys, aisecops_server.cli.running.serve; print('grpc' in sys.modules)") == "False\n"


def test_grpc_knows_every_switch() -> None:
    assert _run(_STARTS_A_SERVER, switches=WITHOUT_POOL) == ""


def test_an_unknown_switch_would_be_noticed() -> None:
    assert "Unknown experiment" in _run(_STARTS_A_SERVER, switches="-no_such_thing")


def _run(code: str, *, switches: str = "") -> str:
    environment = {**os.environ, GRPC_SWITCHES: switches}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout
