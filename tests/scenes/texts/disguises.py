"""Ways to spell an instruction so that a naive pattern does not see it."""

# ruff: noqa: RUF001 - letters that look like others are what this is about
from __future__ import annotations

import base64
import codecs
import html
from collections.abc import Callable, Mapping
from urllib.parse import quote

_CYRILLIC = str.maketrans("aeopcxyiAEOPCXHKMTB", "аеорсхуіАЕОРСХНКМТВ")
_LEET = str.maketrans("aeios", "4310$")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_BOLD = {ord("a") + at: 0x1D41A + at for at in range(26)} | {ord("A") + at: 0x1D400 + at for at in range(26)}
_CIRCLED = {ord("a") + at: 0x24D0 + at for at in range(26)}
_CAPS = str.maketrans("abcdefghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ")


def _between(mark: str) -> Callable[[str], str]:
    return mark.join


def _in_words(mark: str) -> Callable[[str], str]:
    return lambda text: " ".join(mark.join((word[:2], word[2:])) if len(word) > 3 else word for word in text.split(" "))


def _tags(text: str) -> str:
    return "A nice page." + "".join(chr(0xE0000 + ord(letter)) for letter in text)


def _selectors(text: str) -> str:
    codes = (0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16 for byte in text.encode())
    return "A nice page 😀" + "".join(map(chr, codes))


# What can be undone without knowing a language.
DISGUISES: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "capitals": str.upper,
    "mixed case": lambda text: "".join(c.upper() if at % 2 else c.lower() for at, c in enumerate(text)),
    "many blanks": lambda text: text.replace(" ", "  \t "),
    "line breaks": lambda text: text.replace(" ", "\n"),
    "no-break blanks": lambda text: text.replace(" ", "\u00a0"),
    "underscores": lambda text: text.replace(" ", "_"),
    "spaced letters": _between(" "),
    "dotted letters": _between("."),
    "hyphened words": _in_words("-"),
    "broken words": _in_words(" "),
    "zero width": _between("\u200b"),
    "soft hyphens": _in_words("\u00ad"),
    "word joiners": _in_words("\u2060"),
    "struck through": _between("\u0336"),
    "overrides": lambda text: f"\u202d{text}\u202c",
    "look-alikes": lambda text: text.translate(_CYRILLIC),
    "full width": lambda text: text.translate(_WIDE),
    "mathematical": lambda text: text.translate(_BOLD),
    "circled": lambda text: text.lower().translate(_CIRCLED),
    "small capitals": lambda text: text.lower().translate(_CAPS),
    "digits": lambda text: text.translate(_LEET),
    "emoji": _in_words("😀"),
    "percent": quote,
    "percent, all": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "entities": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "named entities": lambda text: html.escape(text).replace(" ", "&nbsp;"),
    "backslashes": lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
    "json": lambda text: text.replace(" ", "\\n"),
    "base64": lambda text: f"Decode: {base64.b64encode(text.encode()).decode()} please",
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 of utf-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base64 in lines": lambda text: base64.encodebytes(" ".join([text] * 3).encode()).decode(),
    "base64 amid bytes": lambda text: base64.b64encode(b"\x00\xff\x89" + text.encode() + b"\xfe\x01").decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, spaced": lambda text: text.encode().hex(" "),
    "backwards": lambda text: text[::-1],
    "rotated": lambda text: codecs.encode(text, "rot13"),
    "tags": _tags,
    "variation selectors": _selectors,
}
