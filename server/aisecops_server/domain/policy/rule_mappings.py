"""Which requirements the rules of a policy say that they serve: the ``mappings`` of their METADATA.

The METADATA is the one source of this, so it is read from the rules' own text and not from anything made of it. Only
what stands in a rule's place (``rego/aisecops/rules/CATEGORY/RULE/RULE.rego``) is a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.formats.canonical import JsonValue

Parse = Callable[[str, bytes], JsonValue]
_PLACE = ("rego", "aisecops", "rules")
_OPENING = "# METADATA"


def mappings_of(files: Mapping[str, bytes], parse: Parse) -> dict[str, tuple[str, ...]]:
    """Return, for each rule of a policy tree, what it says it serves, as ``FRAMEWORK:REQUIREMENT``.

    ``parse`` reads YAML. A rule whose METADATA cannot be read serves nothing.
    """
    return {
        rule: _mappings(path, content, parse)
        for path, content in sorted(files.items())
        if (rule := _rule(PurePosixPath(path)))
    }


def _rule(path: PurePosixPath) -> str:
    *folders, category, rule, name = path.parts if len(path.parts) == len(_PLACE) + 3 else ("", "", "", "")
    return f"{category}.{rule}" if tuple(folders) == _PLACE and name == f"{rule}.rego" else ""


def _mappings(path: str, content: bytes, parse: Parse) -> tuple[str, ...]:
    lines = content.decode("utf-8", "replace").splitlines()
    if _OPENING not in lines:
        return ()
    block = []
    for line in lines[lines.index(_OPENING) + 1 :]:
        if not line.startswith("#"):
            break
        block.append(line[2:])
    try:
        found = parse(path, "\n".join(block).encode())
    except AisecopsError:
        return ()
    custom = found.get("custom") if isinstance(found, Mapping) else None
    named = custom.get("mappings") if isinstance(custom, Mapping) else None
    return tuple(str(name) for name in named) if isinstance(named, list) else ()
