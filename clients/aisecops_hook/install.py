"""Writing the hook into a coding agent's settings, and taking it out again, byte for byte."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aisecops_hook.failures import HookError

BACKUP = ".before-aisecops"
_EVENTS = ("UserPromptSubmit", "PreToolUse", "PostToolUse", "PostToolUseFailure", "SessionEnd")
_TOOL_EVENTS = frozenset({"PreToolUse", "PostToolUse", "PostToolUseFailure"})
_SECONDS = 60


def install(arguments: Sequence[str]) -> int:
    """Write the hook into the settings of Claude Code, or take it out; returns 0.

    Raises:
        HookError: it cannot be written, or is there already.
    """
    from aisecops_hook.main import options  # noqa: PLC0415 - each knows the other

    left = [word for word in arguments if word != "--undo"]
    where = Path(".claude/settings.json")
    if "--settings" in left:
        at = left.index("--settings")
        where, left = Path(*left[at + 1 : at + 2]), left[:at] + left[at + 2 :]
    if options(left).get("--client", ["claude-code"])[-1] != "claude-code":
        raise HookError("only the settings of claude-code can be written; see the how-to for the others")
    try:
        _undo(where) if "--undo" in arguments else _write(where, left)
    except OSError as error:
        raise HookError(f"{str(where)!a} cannot be written: {error.strerror}") from error
    return 0


def _write(where: Path, left: Sequence[str]) -> None:
    text = where.read_text(encoding="utf-8") if where.exists() else ""
    try:
        settings: Any = json.loads(text or "{}")
    except ValueError as error:
        raise HookError(f"{str(where)!a} is no JSON") from error
    hooks = settings.setdefault("hooks", {}) if isinstance(settings, dict) else None
    if not isinstance(hooks, dict):
        raise HookError(f"{str(where)!a} is not of the form that settings have")
    backup = where.with_name(where.name + BACKUP)
    if backup.exists():
        raise HookError("the hook is there already. Take it out with --undo first")
    command = shlex.join([shutil.which("aisecops") or "aisecops", "hook", *left])
    for event in _EVENTS:
        entry: dict[str, Any] = {"hooks": [{"type": "command", "command": command, "timeout": _SECONDS}]}
        hooks.setdefault(event, []).append({"matcher": "*", **entry} if event in _TOOL_EVENTS else entry)
    where.parent.mkdir(parents=True, exist_ok=True)
    backup.write_text(text, encoding="utf-8")
    _replace(where, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    sys.stderr.write(f"hooked: {where}\n")


def _undo(where: Path) -> None:
    backup = where.with_name(where.name + BACKUP)
    if not backup.exists():
        raise HookError(f"there is no hook of ours in {str(where)!a}")
    before = backup.read_text(encoding="utf-8")
    if before:
        _replace(where, before)
    else:
        where.unlink(missing_ok=True)
    backup.unlink()
    sys.stderr.write(f"as it was: {where}\n")


def _replace(where: Path, text: str) -> None:
    made = where.with_name(where.name + ".new")
    made.write_text(text, encoding="utf-8")
    os.replace(made, where)  # noqa: PTH105 - one step, whoever reads meanwhile
