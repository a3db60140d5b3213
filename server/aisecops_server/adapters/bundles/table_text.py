"""Entries of tables as YAML that people read: quoted wherever a reader could take a text for something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from aisecops_server.domain.formats.canonical import JsonValue

_WORD = r"[A-Za-z][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*"
_PLAIN = re.compile(rf"{_WORD}(?: {_WORD})*", re.ASCII)
# What some reader of YAML, of whatever version, takes for a boolean or nothing.
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
_ESCAPED = {'"': '\\"', "\\": "\\\\"}
_COMMENT_CHARACTERS = 200


def entry_text(key: str, fields: Mapping[str, JsonValue], remarks: Mapping[str, str]) -> str:
    """Return one entry of a table as lines of YAML, with the remarks behind their fields as comments.

    The remark of the empty field stands below the key. A mapping of mappings is written one member a line.
    """
    return "".join(f"{line}\n" for line in _lines(key, fields, remarks))


def _lines(key: str, fields: Mapping[str, JsonValue], remarks: Mapping[str, str]) -> Iterator[str]:
    yield f"{_text(key)}:"
    if about := remarks.get(""):
        yield f"  # {_comment(about)}"
    for name, value in fields.items():
        remark = f" # {_comment(remarks[name])}" if remarks.get(name) else ""
        if isinstance(value, dict) and value and all(isinstance(member, dict) for member in value.values()):
            yield f"  {_text(name)}:{remark}"
            yield from (f"    {_text(part)}: {_flow(member)}" for part, member in value.items())
        else:
            yield f"  {_text(name)}: {_flow(value)}{remark}"


def _flow(value: JsonValue) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(name)}: {_flow(part)}' for name, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _comment(remark: str) -> str:
    # A comment ends with its line, so nothing in it may be or look like the end of one.
    return "".join(character if character.isprintable() else "?" for character in remark)[:_COMMENT_CHARACTERS]
