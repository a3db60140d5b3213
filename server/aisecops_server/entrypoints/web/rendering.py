"""From a page to bytes: HTML by templates that escape everything, or the same data as JSON."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aisecops.v1 import decision_pb2
from aisecops.v1.event_pb2 import Stage
from aisecops.v1.provenance_pb2 import SourceKind, TrustLevel
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aisecops_server.domain.display import words
from aisecops_server.entrypoints.web.addresses import address, agent_word
from aisecops_server.entrypoints.web.gates import gate_strip
from aisecops_server.entrypoints.web.markup import BRIEF_CHARACTERS, brief, hidden_count, shown

_HERE = Path(__file__).parent
ASSETS = _HERE / "assets"
_CLASS = str.maketrans({" ": "-", ",": None})


@dataclass(frozen=True)
class Assets:
    """The files that pages load, named by the digest of all of them, so that a browser may keep them for ever."""

    directory: Path = ASSETS

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """Return every file by its name."""
        return {path.name: path.read_bytes() for path in sorted(self.directory.iterdir()) if path.is_file()}

    @cached_property
    def build(self) -> str:
        """Return the digest of all files."""
        every = hashlib.sha256()
        for name, content in self.files.items():
            every.update(name.encode() + b"\0" + content)
        return every.hexdigest()[:16]


def environment(assets: Assets) -> Environment:
    """Return the template engine. What a template misspells is an error, never an empty place."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "shown": shown,
        "brief": brief,
        "hidden": hidden_count,
        "moment": moment,
        "short": lambda revision: shown(words.short_revision(revision)),
        "agent": agent_word,
        "tone": tone,
        "part": lambda text: quote(str(text), safe=""),
        "counted": words.counted,
    }
    made.globals |= {
        "asset": lambda name: f"/assets/{assets.build}/{name}",
        "address": address,
        "gate_strip": gate_strip,
        "outcome": words.outcome_sign,
        "source_word": words.source_word,
        "trust_word": words.trust_word,
        "effect": words.effect_sign,
        "severity": words.severity_sign,
        "bare": words.bare,
        "brief_characters": BRIEF_CHARACTERS,
        "stage_word": lambda stage: words.bare(Stage.Name(stage)).lower().replace("_", " "),
        "outcome_name": decision_pb2.Outcome.Name,
        "effect_name": decision_pb2.Effect.Name,
        "kind_name": SourceKind.Name,
        "trust_name": TrustLevel.Name,
    }
    return made


def tone(sign: words.Sign) -> str:
    """Return the style class of a sign."""
    return "s-" + sign.word.translate(_CLASS)


def moment(stamp: object, *, is_due: bool = False) -> Markup:
    """Return a time for a page, in UTC; a script adds the reader's own as a tooltip.

    Beside one at which something is due, it writes that, and how long it is until then.
    """
    if isinstance(stamp, Timestamp):
        if not stamp.seconds:
            return Markup("–")
        found = datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, tz=UTC)
    elif isinstance(stamp, int | float) and stamp:
        found = datetime.fromtimestamp(stamp, tz=UTC)
    else:
        return Markup("–")
    return Markup('<time{} datetime="{}">{}</time>').format(
        Markup(" data-due") if is_due else "",
        found.isoformat(timespec="milliseconds"),
        found.strftime("%Y-%m-%d %H:%M:%SZ"),
    )


def command_line(command: Sequence[str]) -> str:
    """Return a command as it is pasted into a shell; nothing where a word of it would hide something there."""
    if not command or any(hidden_count(word) or not word.isprintable() for word in command):
        return ""
    return shlex.join(("aisecops", *command))


def twin(data: Mapping[str, Any]) -> bytes:
    """Return the data of a page as JSON: the API's messages, with every field."""
    return json.dumps(_plain(data), ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return MessageToDict(value, always_print_fields_with_no_presence=True)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
