"""The values in a call's arguments that could direct its effect: whole arguments, and references inside texts.

Nothing here judges. Shapes say what a value looks like; what an argument is for is said by the tool table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import re2

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.grounding.normal_form import normal_form

LONGEST_VALUE = 256
LONGEST_COUNTER = 4
MOST_EMBEDDED = 64
MOST_MATCHES = 2_048
SCANNED_CHARACTERS = 262_144
_WORD_LIMIT = 40
_PHRASE_LIMIT = 120

_FILE_ENDINGS = frozenset(
    {
        *("bak", "bin", "c", "cfg", "conf", "cpp", "csv", "dat", "db", "doc", "docx", "exe", "gif", "go", "gz", "h"),
        *("htm", "html", "ini", "java", "jpeg", "jpg", "js", "json", "key", "log", "md", "mov", "mp3", "mp4", "odt"),
        *("pdf", "pem", "png", "ppt", "pptx", "ps1", "py", "rs", "rtf", "sh", "sql", "svg", "tar", "tgz", "toml"),
        *("ts", "tsv", "txt", "wav", "webp", "xls", "xlsx", "xml", "yaml", "yml", "zip"),
    }
)
# Letters and digits; beyond ASCII everything counts as a letter, which keeps the automata small.
_L = r"a-z0-9\x{80}-\x{10ffff}"
_REST = r"[^\s<>\"'`|\\^{}]*"
_EMAIL = rf"[{_L}._%+\-]+@[{_L}\-]+(?:\.[{_L}\-]+)+"
_URL = rf"[a-z][a-z0-9+.\-]+://[^\s<>\"'`|\\^{{}}]{_REST}"
_HOST = rf"(?:[{_L}\-]+\.)+[a-z\x{{80}}-\x{{10ffff}}][a-z\-\x{{80}}-\x{{10ffff}}]+(?::\d+)?(?:/{_REST})?"
_ADDRESS = rf"\d+\.\d+\.\d+\.\d+(?::\d+)?(?:/{_REST})?"
_IBAN = r"[a-z][a-z]\d\d(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?"
_HANDLE = rf"[@#][{_L}_][{_L}_.\-]+"
_PATH = rf"(?:~|\.|\.\.|[a-z]:)?[/\\][{_L}._~\-]+(?:[/\\][{_L}._~\-]+)*[/\\]?|[{_L}._\-]+(?:/[{_L}._\-]+)+"
_IDENTIFIER = rf"[{_L}_\-]*\d[{_L}_\-]*"
_TIME = r"\d+:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+\-]\d\d:?\d\d)?"
_NUMBER = rf"[+\-]?\d+(?:[.,]\d+)*|{_TIME}|\d+[-/.]\d+(?:[-/.]\d+)?(?:[t ]{_TIME})?"
_DIGITS = frozenset("0123456789")
# In this order: the first shape that covers the whole value names it. Without one of its signs none can.
_WHOLE = tuple(
    (shape, frozenset(signs), re2.compile(f"(?:{pattern})$"))
    for shape, signs, pattern in (
        ("email", "@", _EMAIL),
        ("url", ":", _URL),
        ("iban", _DIGITS, _IBAN),
        ("host", ".", _ADDRESS),
        ("number", _DIGITS, _NUMBER),
        ("host", ".", _HOST),
        ("path", "/\\", _PATH),
        ("identifier", "@#", _HANDLE),
        ("identifier", _DIGITS, _IDENTIFIER),
    )
)
_EMBEDDED = re2.compile(
    f"(?P<url>{_URL})|(?P<email>{_EMAIL})|(?P<iban>\\b{_IBAN}\\b)|(?P<address>\\b{_ADDRESS})|(?P<host>\\b{_HOST})"
    rf"|(?P<identifier>\b\d\d\d\d\d+\b)|(?P<handle>(?:^|[\s(,;])[@][{_L}_][{_L}_.\-]+)"
)
_TRAILING = ".,;:!?)]}'\"*"
_SHAPE_OF_GROUP = {"address": "host", "handle": "identifier"}


@dataclass(frozen=True, slots=True)
class ArgumentValue:
    """One value: where it stands, what it looks like, and the text that is searched for.

    ``partly_read`` is true when the text holds more references than are looked at. ``of_link`` is the link inside a
    text whose host this is.
    """

    pointer: str
    argument: str
    shape: str
    embedded: bool
    value: str
    needle: str
    open_ended: bool = False
    partly_read: bool = False
    of_link: str = ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return the texts to search for: account numbers are written with blanks and without."""
        if self.shape != "iban":
            return (self.needle,)
        bare = self.needle.replace(" ", "")
        grouped = " ".join(bare[at : at + 4] for at in range(0, len(bare), 4))
        return tuple(dict.fromkeys((self.needle, bare, grouped)))

    @property
    def is_place(self) -> bool:
        """Return whether it says by itself where something is."""
        return self.shape in {"email", "url", "host", "iban", "path", "identifier"}

    @property
    def is_counter(self) -> bool:
        """Return whether it is a short number, such as also counts days, list items and prices."""
        return self.value.isdigit() and len(self.value) <= LONGEST_COUNTER


def argument_values(arguments: Mapping[str, JsonValue]) -> Iterator[ArgumentValue]:
    """Yield every value of ``arguments``, whole ones first within each argument, in document order."""
    for argument, value in arguments.items():
        yield from _values(value, f"/{_escaped(argument)}", argument)


def reference_shape(form: str) -> str:
    """Return the shape of a normal form that looks like a reference, or an empty string."""
    characters = frozenset(form)
    for shape, signs, pattern in _WHOLE:
        if not signs.isdisjoint(characters) and pattern.match(form):
            return "path" if shape == "host" and _is_file_name(form) else shape
    return ""


def without_file_ending(form: str) -> str:
    """Return the form less a usual file ending."""
    return form.rpartition(".")[0] if _is_file_name(form) else form


def _values(value: JsonValue, pointer: str, argument: str) -> Iterator[ArgumentValue]:
    if isinstance(value, str):
        yield from _of_text(value, pointer, argument)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield ArgumentValue(pointer, argument, "number", embedded=False, value=str(value), needle=str(value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if reference_shape(normal_form(key[:LONGEST_VALUE])):
                yield from _of_text(key, pointer, argument)
            yield from _values(item, f"{pointer}/{_escaped(key)}", argument)
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _values(item, f"{pointer}/{index}", argument)


def _of_text(text: str, pointer: str, argument: str) -> Iterator[ArgumentValue]:
    form = normal_form(text)
    if not form:
        return
    whole = form[:LONGEST_VALUE]
    shape = _shape(form)
    embedded, is_all = _embedded(form, shape, pointer, argument)
    yield ArgumentValue(
        pointer,
        argument,
        shape,
        embedded=False,
        value=whole,
        needle=_needle(whole, shape),
        open_ended=len(form) > LONGEST_VALUE,
        partly_read=not is_all,
    )
    yield from embedded


def _embedded(form: str, shape: str, pointer: str, argument: str) -> tuple[Sequence[ArgumentValue], bool]:
    """Return the references inside a value, and whether these are all."""
    if shape == "url" or (shape == "host" and "/" in form):
        host = _host(form)
        return [ArgumentValue(pointer, argument, "host", embedded=True, value=host, needle=host)] if host else [], True
    if shape not in {"word", "phrase", "text"}:
        return [], True
    seen: dict[str, ArgumentValue] = {}
    for number, match in enumerate(_EMBEDDED.finditer(form[:SCANNED_CHARACTERS])):
        if number == MOST_MATCHES:
            return [*seen.values()], False
        found = match.group().strip(" (,;").rstrip(_TRAILING)
        kind = str(match.lastgroup)
        if found in seen or not found or (kind == "host" and _is_file_name(found)):
            continue
        if len(seen) >= MOST_EMBEDDED:
            return [*seen.values()], False
        seen[found] = _reference(found, _SHAPE_OF_GROUP.get(kind, kind), pointer, argument)
        # Where a link leads is said by its host, whatever else was made up.
        if (host := _host(found)) and kind == "url" and host not in seen:
            seen[host] = replace(_reference(host, "host", pointer, argument), of_link=seen[found].value)
    return [*seen.values()], len(form) <= SCANNED_CHARACTERS


def _host(link: str) -> str:
    return _needle(link, "url").partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2][:LONGEST_VALUE]


def _reference(found: str, shape: str, pointer: str, argument: str) -> ArgumentValue:
    value = found[:LONGEST_VALUE]
    return ArgumentValue(
        pointer,
        argument,
        shape,
        embedded=True,
        value=value,
        needle=_needle(value, shape),
        # What was cut must be found where it goes on.
        open_ended=len(found) > LONGEST_VALUE,
    )


def _shape(form: str) -> str:
    if len(form) <= LONGEST_VALUE:
        reference = reference_shape(form)
        if reference:
            return reference
    if " " not in form and len(form) <= _WORD_LIMIT:
        return "word"
    return "phrase" if len(form) <= _PHRASE_LIMIT and form.count(". ") == 0 else "text"


def _needle(value: str, shape: str) -> str:
    if shape not in {"url", "host"}:
        return value
    bare = value.partition("://")[2] or value
    return bare.rstrip("/") or value


def _is_file_name(form: str) -> bool:
    return "/" not in form and form.rpartition(".")[2] in _FILE_ENDINGS


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
