"""Reads the YAML that people edit in a policy repository, into plain JSON values.

Only what means the same to every reader is accepted, in the manner of YAML 1.2: ``true`` and ``false`` are the only
booleans, so ``NO`` is Norway; numbers are decimal; dates, hexadecimal and everything else plain is a string. Refused,
with file and line: tags, merge keys, duplicate or non-string keys, numbers that readers disagree on, several documents,
and aliases that multiply (they are counted on the node graph before anything is expanded).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import yaml

from aisecops_server.domain.canonical import SAFE_INTEGER, JsonValue
from aisecops_server.domain.errors import BundleRejectedError

MAX_ALIASES = 256
MAX_NODES = 500_000
MAX_DEPTH = 32

_STRING = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_BOOLEAN = "tag:yaml.org,2002:bool"
_INTEGER = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_COLLECTIONS = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

_SafeLoader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """The safe loader, composing nodes only, with the plain scalars of this module."""

    def resolve(self, kind: type, value: str | None, implicit: object) -> str:
        if kind is yaml.ScalarNode:
            plain = isinstance(implicit, tuple) and implicit[0]
            return _plain_tag(value or "") if plain else _STRING
        return _COLLECTIONS[kind is yaml.MappingNode]


def parse_yaml(path: str, content: bytes) -> JsonValue:
    """Return the one document of a YAML (or JSON) file.

    Raises:
        BundleRejectedError: the file is not UTF-8, not YAML, or uses what this module refuses.
    """
    try:
        loader = _Loader(content.decode("utf-8-sig"))
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise _refused(path, 0, "the file is not UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or "it is nested too deep or holds characters that YAML does not allow"
        raise _refused(path, mark.line + 1 if mark else 0, str(why)) from error
    if node is None:
        raise _refused(path, 1, "the file is empty")
    _Measure(path).measure(node, 1)
    return _Construction(path).value(node)


@dataclass(slots=True)
class _Measure:
    """Counts aliases and what they would expand to, visiting every node once."""

    path: str
    sizes: dict[int, int] = field(default_factory=dict)
    aliases: int = 0

    def measure(self, node: yaml.Node, depth: int) -> int:
        key = id(node)
        if key in self.sizes:
            return self._alias(node, self.sizes[key])
        if depth > MAX_DEPTH:
            raise _refused(self.path, _line(node), f"it is nested deeper than {MAX_DEPTH} levels")
        self.sizes[key] = 0  # seen again while still 0: the alias contains itself
        size = 1 + sum(self.measure(child, depth + 1) for child in _children(node))
        if size > MAX_NODES:
            raise _refused(self.path, _line(node), f"it expands to more than {MAX_NODES:,} values")
        self.sizes[key] = size
        return size

    def _alias(self, node: yaml.Node, size: int) -> int:
        self.aliases += 1
        if size == 0:
            raise _refused(self.path, _line(node), "an alias contains itself")
        if self.aliases > MAX_ALIASES:
            raise _refused(self.path, _line(node), f"it uses more than {MAX_ALIASES} aliases")
        return size


@dataclass(slots=True)
class _Construction:
    """Makes values of nodes; what an alias repeats is made once and shared."""

    path: str
    made: dict[int, JsonValue] = field(default_factory=dict)

    def value(self, node: yaml.Node) -> JsonValue:
        key = id(node)
        if key not in self.made:
            self.made[key] = self._make(node)
        return self.made[key]

    def _make(self, node: yaml.Node) -> JsonValue:
        if isinstance(node, yaml.MappingNode) and node.tag == _COLLECTIONS[1]:
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _COLLECTIONS[0]:
            return [self.value(child) for child in node.value]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise _refused(self.path, _line(node), f"the tag {node.tag} is not allowed")

    def _mapping(self, node: yaml.MappingNode) -> dict[str, JsonValue]:
        items: dict[str, JsonValue] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node)
            line = _line(key_node)
            if not isinstance(key, str):
                raise _refused(self.path, line, "a key is not a string; write it in quotes")
            if key == "<<":
                raise _refused(self.path, line, "merge keys are not allowed; write the fields out")
            if key in items:
                raise _refused(self.path, line, f"the key {key!r} stands twice")
            items[key] = self.value(value_node)
        return items

    def _scalar(self, node: yaml.ScalarNode) -> JsonValue:
        text: str = node.value
        match node.tag:
            case tag if tag == _STRING:
                return text
            case tag if tag == _NULL and text in _NULLS:
                return None
            case tag if tag == _BOOLEAN and text in _BOOLEANS:
                return _BOOLEANS[text]
            case tag if tag in (_INTEGER, _FLOAT) and _plain_tag(text) == tag:
                return self._number(node, text)
        raise _refused(self.path, _line(node), f"the tag {node.tag} is not allowed")

    def _number(self, node: yaml.ScalarNode, text: str) -> int | float:
        number = int(text) if node.tag == _INTEGER and len(text) < len(str(SAFE_INTEGER)) + 2 else float(text)
        if not math.isfinite(number) or abs(number) > SAFE_INTEGER:
            raise _refused(self.path, _line(node), f"the number {text[:40]} is beyond what every reader keeps exactly")
        return number


def _plain_tag(text: str) -> str:
    if text in _NULLS:
        return _NULL
    if text in _BOOLEANS:
        return _BOOLEAN
    digits = text[1:] if text[0] in "+-" else text
    if digits.isascii() and digits.isdigit():
        return _INTEGER if digits == "0" or digits[0] != "0" else _STRING
    return _FLOAT if _is_float(digits) else _STRING


def _is_float(digits: str) -> bool:
    if not digits or digits[0] not in "0123456789." or set(digits) - set("0123456789.eE+-"):
        return False
    try:
        float(digits)
    except ValueError:
        return False
    return True


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _refused(path: str, line: int, why: str) -> BundleRejectedError:
    where = f"{path}:{line}" if line else path
    return BundleRejectedError(
        f"{where}: {why}", hint="Mend the file and push a new commit", file=path, line=str(line) if line else ""
    )
