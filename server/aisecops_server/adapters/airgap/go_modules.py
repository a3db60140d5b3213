"""What a Go program says of itself: the compiler and the modules that it was built from, without a Go at hand.

The format is that of `debug/buildinfo` since Go 1.18: a header of 32 bytes, then two strings with their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"\xff Go buildinf:"
_HEADER_BYTES = 32
_FLAGS_AT = 15
_INLINE = 0x2
_MORE = 0x80
# The list of modules stands between two marks of this length.
_MARK_BYTES = 16
STANDARD_LIBRARY = "stdlib"


@dataclass(frozen=True, slots=True)
class GoModule:
    """A module, its version, and the ``h1:`` sum of its content; the standard library has none."""

    path: str
    version: str
    sum: str = ""


def modules_of(program: Path) -> tuple[GoModule, ...]:
    """Return the module that a program is, then those that it is made of, the standard library first.

    Raises:
        LookupError: the file says nothing that can be read.
    """
    content = program.read_bytes()
    at = content.find(_MAGIC)
    if at < 0 or not content[at + _FLAGS_AT] & _INLINE:
        raise LookupError(f"{program} does not say what it was built from")
    compiler, end = _string(content, at + _HEADER_BYTES)
    listed, _ = _string(content, end)
    own, *others = _listed(listed[_MARK_BYTES:-_MARK_BYTES].decode())
    return (own, GoModule(STANDARD_LIBRARY, compiler.decode().removeprefix("go")), *others)


def _listed(text: str) -> list[GoModule]:
    found: list[GoModule] = []
    for line in text.splitlines():
        kind, *fields = line.split("\t")
        if kind in ("mod", "dep"):
            found.append(GoModule(*fields))
        elif kind == "=>":  # what was built in the place of the one before
            found[-1] = GoModule(*fields)
    if not found:
        raise LookupError("the program names no modules")
    return found


def _string(content: bytes, at: int) -> tuple[bytes, int]:
    length = shift = 0
    while True:
        byte = content[at]
        at += 1
        length |= (byte & ~_MORE) << shift
        shift += 7
        if not byte & _MORE:
            return content[at : at + length], at + length
