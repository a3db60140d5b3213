"""``aisecops hook``: one event of a coding agent on stdin, the answer as the exit code.

0 lets the agent go on as it would have; 2 refuses, with the reason on stderr and as JSON on stdout. Every error is a 2:
agents run the tool when a hook fails in any other way, or is not there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from aisecops_hook.asking import Asking
from aisecops_hook.deciding import Deciding
from aisecops_hook.events import EVENTS, STDIN_BYTES, Event, Kind, read_event
from aisecops_hook.failures import HookError
from aisecops_hook.memory import TEXT_BYTES, Memory

GO_ON, REFUSED = 0, 2
_SECONDS, _ALARM_SECONDS = 10.0, 50
_OPTIONS = ("--client", "--event", "--socket", "--token-file", "--environment", "--memory", "--tool", "--seconds")
CLIENTS = ("claude-code", "codex", "gemini-cli", "copilot")
USAGE = f"""aisecops hook [OPTIONS] < EVENT

Decide one event of a coding agent. Exit code 0: go on. 2: refused, with the reason on stderr.

  --client NAME        {", ".join(CLIENTS)} (default: claude-code)
  --event NAME         the event, where the agent does not send its name: {", ".join(EVENTS)}
  --socket PATH        the control plane's or edge's (default: run/aisecops.http in AISECOPS_STATE_DIR)
  --token-file PATH    who the agent is (default: AISECOPS_TOKEN_FILE)
  --environment NAME   where it acts (default: development)
  --tool NAME=TOOL     what policy calls a tool of the agent, `server/tool`; may come often
  --memory FOLDER      where sessions are kept (default: hook beside the socket)
  --seconds N          how long an answer may take (default: {_SECONDS:.0f})

aisecops hook install --client claude-code [OPTIONS] [--settings FILE] [--undo]

Write the hook into the agent's settings, or take it out again.
"""


def main(arguments: Sequence[str]) -> int:
    """Answer one event, and return the exit code: never another one than 0 or 2."""
    try:
        if arguments[:1] == ["install"]:
            from aisecops_hook.install import install  # noqa: PLC0415 - not on the way of an event

            return install(arguments[1:])
        if "--help" in arguments:
            sys.stdout.write(USAGE)
            return GO_ON
        return _answered(arguments)
    except HookError as error:
        why = f"Not run: {error}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, the tool does not run
        why = f"Not run: there is no decision ({type(error).__name__}), and without one nothing is allowed"
    return _refused(why)


def options(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of options.

    Raises:
        HookError: one is not known, or lacks its value.
    """
    found: dict[str, list[str]] = {}
    left = list(arguments)
    while left:
        name, joined, value = left.pop(0).partition("=") if left[0].startswith("--") else ("", "", left.pop(0))
        if name not in _OPTIONS or not (joined or left):
            raise HookError(f"the option {ascii(name or value)[:80]} is not known, or has no value. See --help")
        found.setdefault(name, []).append(value if joined else left.pop(0))
    if found.get("--client", ["claude-code"])[-1] not in CLIENTS:
        raise HookError(f"--client is one of {', '.join(CLIENTS)}")
    return found


def _answered(arguments: Sequence[str]) -> int:
    given = options(arguments)

    def last(name: str, default: str) -> str:
        return given.get(name, [default])[-1]

    named = dict(pair.split("=", 1) for pair in given.get("--tool", ()) if "=" in pair)
    data = sys.stdin.buffer.read(STDIN_BYTES + 1)
    event = read_event(data, named=last("--event", ""), agent=last("--client", "claude-code"), tools=named)
    socket = last("--socket", f"{_state()}/run/aisecops.http")
    memory = Memory.of(last("--memory", f"{os.path.dirname(socket) or '.'}/hook"), event.session)  # noqa: PTH120
    if event.kind in (Kind.PROMPT, Kind.END):
        _listened(event, memory)
        return GO_ON
    token = _token(last("--token-file", os.environ.get("AISECOPS_TOKEN_FILE", "")))
    asking = Asking(socket, token, float(last("--seconds", str(_SECONDS))))
    deciding = Deciding(asking, memory, last("--environment", "development"))
    if event.kind is Kind.BEFORE:
        deciding.before(event)
    else:
        deciding.after(event)
    return GO_ON


def _listened(event: Event, memory: Memory) -> None:
    if event.kind is Kind.END:
        memory.forget()
    elif event.prompt:
        memory.add({"heard": "user_prompt", "text": event.prompt[: 4 * TEXT_BYTES]})


def _token(path: str) -> str:
    if not path:
        raise HookError("nobody knows who asks: give --token-file, or set AISECOPS_TOKEN_FILE")
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - quicker than a path
            token = file.read().strip()
    except (OSError, ValueError) as error:
        raise HookError(f"the token in {path!a} cannot be read") from error
    if not token.isprintable():
        raise HookError(f"what stands in {path!a} is no token")
    return token


def _state() -> str:
    home = os.environ.get("XDG_STATE_HOME") or f"{os.environ.get('HOME', '')}/.local/state"
    return os.environ.get("AISECOPS_STATE_DIR") or f"{home}/aisecops"


def _refused(why: str) -> int:
    said: dict[str, Any] = {"decision": "deny", "reason": why, "permissionDecision": "deny"}
    said["permissionDecisionReason"] = why
    try:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stderr.write(why.encode("utf-8", "replace").decode() + "\n")
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        # Nobody listens; the exit code still says it.
        return REFUSED
    return REFUSED


def run(arguments: Sequence[str]) -> None:
    """End the process with the answer, at once and in time."""
    code = REFUSED
    try:
        signal.signal(signal.SIGALRM, _late)
        signal.alarm(_ALARM_SECONDS)
        code = main(arguments)
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - whatever it is, the tool does not run
        code = REFUSED
    finally:
        os._exit(code)


def _late(_signal: int, _frame: object) -> None:
    raise HookError("there is no decision in time, and without one nothing is allowed")
