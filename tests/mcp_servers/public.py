"""Public servers, each with calls of it that come out the same every time: what a test's folder holds is theirs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.scenes.mcp.mcp_packages import npm_server, pypi_server

Calls = list[tuple[str, dict[str, Any]]]


def files(root: Path) -> tuple[tuple[str, ...], Calls]:
    folder = root.resolve() / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("hello\n", encoding="utf-8")
    return (*npm_server("filesystem"), str(folder)), [
        ("read_text_file", {"path": str(folder / "a.txt")}),
        ("list_directory", {"path": str(folder)}),
        ("read_text_file", {"path": "/etc/hostname"}),
        # The same again, so that both runs find the same.
        ("write_file", {"path": str(folder / "a.txt"), "content": "hello\n"}),
    ]


def memory(_root: Path) -> tuple[tuple[str, ...], Calls]:
    entity = {"name": "Mara", "entityType": "person", "observations": ["likes tea"]}
    return npm_server("memory"), [("create_entities", {"entities": [entity]}), ("read_graph", {})]


def everything(_root: Path) -> tuple[tuple[str, ...], Calls]:
    return npm_server("everything"), [
        ("echo", {"message": "héllo \u200b 1.0"}),
        ("get-sum", {"a": 1, "b": 2.5}),
        ("get-structured-content", {"location": "New York"}),
        ("no-such-tool", {}),
    ]


def git(root: Path) -> tuple[tuple[str, ...], Calls]:
    folder = str(root.resolve() / "repository")
    run = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", folder]
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    subprocess.run([*run, "commit", "--quiet", "--allow-empty", "-m", "first"], check=True)
    return pypi_server("git"), [("git_status", {"repo_path": folder}), ("git_log", {"repo_path": folder})]


def time(_root: Path) -> tuple[tuple[str, ...], Calls]:
    when = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "UTC"}
    return pypi_server("time"), [("convert_time", when)]


def fetch(_root: Path) -> tuple[tuple[str, ...], Calls]:
    return pypi_server("fetch"), [("fetch", {"url": "http://127.0.0.1:1/"})]
