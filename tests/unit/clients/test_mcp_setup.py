"""Definitions of tools that are held to what they were, and configuration files that are rewritten and put back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aisecops_mcp.client_config import ConfigError, places_in
from aisecops_mcp.definitions import Definitions, PinsError, digest_of, pins_in, pins_written, unseen
from aisecops_mcp.server_process import Command
from aisecops_mcp.wrapping import KEPT, Reach, undo, wrap

TOOL: dict[str, Any] = {
    "name": "send",
    "title": "Send",
    "description": "Send a mail.",
    "inputSchema": {"type": "object", "properties": {"to": {"type": "string"}}},
    "outputSchema": {"type": "object"},
    "annotations": {"readOnlyHint": False},
}
DESKTOP = (
    '{\r\n\t"mcpServers": {"files": {"command": "npx", "args": ["-y", "x"], "env": {"A": "b"}}},\r\n  "theme": "dark"}'
)
EDITOR = """// Servers of this workspace
{
  "servers": {
    /* local */
    "files": { "type": "stdio", "command": "npx", "args": ["https://example.org//x", "/* kept */"], },
    "far": { "type": "http", "url": "https://example.org/mcp" },
    "a__b": { "command": "npx" },
  },
  "inputs": [],
}
"""


def commands_of(content: bytes) -> dict[str, Command]:
    """Return the servers of a configuration that are started by a command."""
    return {name: place for name, place in places_in(content, {}).items() if isinstance(place, Command)}


def changed(**parts: Any) -> dict[str, Any]:
    return {**TOOL, **parts}


@pytest.mark.parametrize(
    "other",
    [
        changed(title="send"),
        changed(description="Send a mail.\u200b"),
        changed(inputSchema={"type": "object", "properties": {"to": {"type": "string", "description": "x"}}}),
        changed(outputSchema={"type": "array"}),
        changed(annotations={"readOnlyHint": True}),
        changed(_meta={"a/b": 1}),
        {name: part for name, part in TOOL.items() if name != "title"},
        changed(huge=2**60),
    ],
    ids=["title", "unseen", "input", "output", "annotations", "meta", "left_out", "number"],
)
def test_whatever_changes_in_a_definition_is_a_change_and_is_told_once(other: dict[str, Any]) -> None:
    definitions = Definitions()
    assert definitions.seen([TOOL]) == []
    [change] = definitions.seen([other])
    assert (change.tool, change.pinned, change.found) == ("send", digest_of(TOOL), digest_of(other))
    assert definitions.seen([other]) == []
    assert definitions.change_of("send") == change
    definitions.accept(change)
    assert (definitions.change_of("send"), definitions.seen([other])) == (None, [])
    # And back again is a change as well.
    assert len(definitions.seen([TOOL])) == 1


def test_a_definition_that_comes_back_holds_again() -> None:
    definitions = Definitions()
    for entry, holds in ((TOOL, True), (changed(title="x"), False), (TOOL, True)):
        definitions.seen([entry])
        assert (definitions.change_of("send") is None) == holds


def test_with_a_file_of_pins_a_tool_without_one_is_kept_back() -> None:
    definitions = Definitions({"send": digest_of(TOOL)}, strict=True)
    [change] = definitions.seen([TOOL, changed(name="new")])
    assert (change.tool, change.pinned) == ("new", "")


def test_the_order_of_members_is_no_change() -> None:
    assert digest_of(dict(reversed(TOOL.items()))) == digest_of(TOOL)


@pytest.mark.parametrize("mark", ["\u200b", "\u202e", "\U000e0041", "\ufe0f", "\x1b", "\u2063", "\ue000"])
def test_what_people_cannot_see_is_found_wherever_it_stands(mark: str) -> None:
    entry = changed(inputSchema={"properties": {f"to{mark}": {"enum": ["a", f"b{mark}"]}}})
    found = list(unseen(entry))
    assert len(found) == 2
    assert {code for _, code in found} == {f"U+{ord(mark):04X}"}
    assert list(unseen(changed(description="Zwei\nZeilen, naïve, 日本語, emoji 🙂"))) == []


def test_pins_are_written_and_read() -> None:
    pins = {"files": {"read": "0" * 64}}
    assert pins_in(pins_written(pins).encode()) == pins
    for wrong in (b"[]", b"{", b'{"a": 1}', b'{"a": {"b": 1}}'):
        with pytest.raises(PinsError):
            pins_in(wrong)


@pytest.mark.parametrize(("content", "governed"), [(DESKTOP, ("files",)), (EDITOR, ("files", "far"))])
def test_a_configuration_is_wrapped_and_put_back_byte_for_byte(
    tmp_path: Path, content: str, governed: tuple[str, ...]
) -> None:
    path = tmp_path / "mcp.json"
    path.write_bytes(content.encode())
    done = wrap(path, "/opt/aisecops", ["--agent", "x"], {"AISECOPS_STATE_DIR": "/s"})
    assert done.wrapped == governed
    command = commands_of(path.read_bytes())["files"]
    assert command.line[:8] == ("/opt/aisecops", "mcp", "proxy", "--agent", "x", "--name", "files", "--")
    assert command.line[8:] == commands_of(content.encode())["files"].line
    assert command.environment["AISECOPS_STATE_DIR"] == "/s"
    with pytest.raises(ConfigError, match="wrapped already"):
        wrap(path, "/opt/aisecops", [], {})
    undo(path)
    assert path.read_bytes() == content.encode()
    assert [found.name for found in tmp_path.iterdir()] == ["mcp.json"]
    with pytest.raises(ConfigError, match="not wrapped"):
        undo(path)


def test_what_is_not_governed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(EDITOR, encoding="utf-8")
    assert wrap(path, "aisecops", [], {}).left.keys() == {"a__b"}
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["servers"]["a__b"] == {"command": "npx"}
    assert kept["inputs"] == []


FAR: dict[str, Any] = {"type": "streamable-http", "url": "https://crm.example/mcp", "disabled": False}


def far(tmp_path: Path, **entry: Any) -> Path:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"crm": {**FAR, **entry}}}), encoding="utf-8")
    return path


def test_a_server_at_a_url_is_reached_by_the_proxy_with_a_token_of_its_own(tmp_path: Path) -> None:
    token, authority = tmp_path / "crm.token", tmp_path / "ca.pem"
    token.write_text("opaque")
    path = far(tmp_path, headers={"authorization": "Bearer the-clients"})
    before = path.read_bytes()
    done = wrap(path, "aisecops", ["--agent", "x"], {"A": "b"}, reach=Reach({"crm": token}, authority))
    assert (done.wrapped, done.left) == (("crm",), {})
    entry = json.loads(path.read_bytes())["mcpServers"]["crm"]
    assert entry == {
        "type": "stdio",
        "disabled": False,
        "command": "aisecops",
        "args": [
            *("mcp", "proxy", "--agent", "x", "--upstream", "crm=https://crm.example/mcp"),
            *("--upstream-token", f"crm={token}", "--upstream-ca", str(authority)),
        ],
        "env": {"A": "b"},
    }
    undo(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"headers": {"Authorization": "Bearer x"}}, "--upstream-token crm=FILE"),
        ({"type": "sse"}, "Streamable HTTP only"),
        ({"url": "http://crm.example/mcp"}, "https"),
        ({"url": "https://u:p@crm.example/mcp"}, "password"),
        ({"url": 5}, "Streamable HTTP only|https"),
    ],
)
def test_a_server_that_the_proxy_would_not_reach_is_named_and_left(
    tmp_path: Path, entry: dict[str, Any], why: str
) -> None:
    path = far(tmp_path, **entry)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=why):
        wrap(path, "aisecops", [], {})
    assert path.read_bytes() == before


def test_headers_that_no_token_takes_the_place_of_are_not_dropped(tmp_path: Path) -> None:
    token = tmp_path / "crm.token"
    token.write_text("opaque")
    path = far(tmp_path, headers={"Authorization": "Bearer x", "X-Team": "support"})
    with pytest.raises(ConfigError, match="headers are not taken"):
        wrap(path, "aisecops", [], {}, reach=Reach({"crm": token}))
    with pytest.raises(ConfigError, match="no server at a URL in it is called elsewhere"):
        wrap(path, "aisecops", [], {}, reach=Reach({"elsewhere": token}))
    token.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        wrap(far(tmp_path), "aisecops", [], {}, reach=Reach({"crm": token}))


def test_a_file_that_was_edited_since_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(DESKTOP, encoding="utf-8")
    wrap(path, "aisecops", [], {})
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="changed since"):
        undo(path)
    assert path.read_text(encoding="utf-8") == "{}"
    assert (tmp_path / f"mcp.json{KEPT}").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"mcpServers": {}}', '{"mcpServers": {"a": {"url": "x"}}}', "{'a'}"]
)
def test_a_file_with_nothing_to_wrap_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError):
        wrap(path, "aisecops", [], {})
    assert [path.read_text(encoding="utf-8"), len(list(tmp_path.iterdir()))] == [content, 1]
