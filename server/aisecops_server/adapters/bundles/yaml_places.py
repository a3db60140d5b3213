"""Where the values of a table stand in its file, so that a changed value can be named by file and line.

The file was read by ``yaml_tables`` before, which refuses everything that could be read in two ways; here only the
lines of its keys are looked up. What an alias repeats stands where the alias does.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from aisecops_server.domain.formats.canonical import JsonValue

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path = tuple[str, ...]


def leaves(content: bytes, value: JsonValue) -> Iterator[tuple[Path, JsonValue, int]]:
    """Yield the path, value and line of everything in a table that is not itself a mapping with entries."""
    lines = key_lines(content)
    for path, leaf in _leaves(value, ()):
        # What stands inside an alias has no line of its own.
        at = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 1)
        yield path, leaf, at


def line_of(content: bytes, *keys: str) -> int:
    """Return the line on which the value below ``keys`` stands, or the nearest that stands around it; 1 for the file.

    A key that nobody wrote on a line of its own stands where what holds it does. Each of ``keys`` may also be several
    joined with dots.
    """
    wanted = ".".join(keys)
    best, line = -1, 1
    for path, at in key_lines(content).items():
        told = ".".join(path)
        if (wanted == told or wanted.startswith(f"{told}.")) and len(told) > best:
            best, line = len(told), at
    return line


def _leaves(value: JsonValue, path: Path) -> Iterator[tuple[Path, JsonValue]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, (*path, str(key)))
    elif path:
        yield path, value


def key_lines(content: bytes) -> dict[Path, int]:
    """Return the line of every key that stands in mappings only, by its path."""
    lines: dict[Path, int] = {}
    path: list[str] = []
    # For each open collection: whether it is a mapping, and whether a key of it comes next.
    open_collections: list[list[bool]] = []
    for event in yaml.parse(content.decode("utf-8-sig"), Loader=_Loader):
        inside = open_collections[-1] if open_collections else None
        if isinstance(event, yaml.CollectionEndEvent):
            open_collections.pop()
            _value_ended(open_collections, path)
        elif isinstance(event, yaml.ScalarEvent) and inside and inside == [True, True]:
            path.append(event.value)
            inside[1] = False
            if all(is_mapping for is_mapping, _ in open_collections):
                lines[tuple(path)] = event.start_mark.line + 1 if event.start_mark else 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_collections.append([isinstance(event, yaml.MappingStartEvent), True])
        elif isinstance(event, yaml.NodeEvent):
            _value_ended(open_collections, path)
    return lines


def _value_ended(open_collections: list[list[bool]], path: list[str]) -> None:
    if open_collections and open_collections[-1][0]:
        open_collections[-1][1] = True
        path.pop()
