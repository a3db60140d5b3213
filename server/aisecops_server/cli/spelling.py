"""The spelling of names in what is printed as JSON: that of the API's own messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def camel_case(value: Any) -> Any:
    """Return a document with its names spelled as proto3 JSON spells them; values stay as they are."""
    if isinstance(value, Mapping):
        return {_camel(str(name)): camel_case(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [camel_case(part) for part in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
