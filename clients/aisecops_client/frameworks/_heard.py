"""What reached the model, as a framework's messages have it, and as a plan can carry it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aisecops_client.plan import PlanBuilder

# Below what the contract lets a plan carry.
SOURCES, SOURCES_BYTES, SOURCE_BYTES, HISTORY = 240, 2_500_000, 1024 * 1024, 1000
NOT_RUN = "Not run"
_IDENTIFIER, _STRAY = re.compile(r"[A-Za-z0-9_.:-]{1,64}"), re.compile(r"[^A-Za-z0-9_.:-]")
_TOOL_RESULT = "tool_result"


@dataclass(frozen=True, slots=True)
class Heard:
    """One message that the model read. ``content`` is ``None`` where it is no text: that there is something is known.

    ``kind`` is such as `user_prompt`. ``tool`` and ``call_id`` say of which call a result is, as the framework does.
    """

    kind: str
    content: str | None
    name: str = ""
    tool: str = ""
    call_id: str = ""
    digest: str = ""


def identifier(text: str) -> str:
    """Return a name that a plan can carry: the text itself where it can, else one made from all of it."""
    return (
        text if _IDENTIFIER.fullmatch(text) else f"x-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:24]}"
    )


def tidy(name: str) -> str:
    """Return a tool's name with every character that names cannot have replaced, for messages about tools only."""
    return _STRAY.sub("_", name)[:64] or "unknown"


def text_of(content: Any) -> str | None:
    """Return the text of a message's content: itself, or that of its blocks; ``None`` if some of it is no text."""
    if isinstance(content, str) or content is None:
        return content or ""
    if not isinstance(content, list):
        return None
    parts = [
        part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None for part in content
    ]
    return "\n".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None


def fitted(heard: Iterable[Heard]) -> list[Heard]:
    """Return as much as fits of what was heard: of the rest digests, and one unknown result for too many."""
    kept = [_within(item) for item in heard]
    total = sum(_size(item) for item in kept)
    # What tools returned goes first, the oldest first, so that people's own words stay.
    for at in sorted(range(len(kept)), key=lambda at: (kept[at].kind != _TOOL_RESULT, at)):
        if total <= SOURCES_BYTES:
            break
        total -= _size(kept[at])
        kept[at] = _digested(kept[at])
    while len(kept) > SOURCES:
        gone = [at for at, item in enumerate(kept) if item.kind == _TOOL_RESULT] or list(range(len(kept)))
        dropped = set(gone[: len(kept) - SOURCES + 1])
        kept = [Heard(_TOOL_RESULT, None, name="earlier results"), *_without(kept, dropped)]
    return kept


def write(
    plan: PlanBuilder, heard: Sequence[Heard], *, named: Callable[[str], str], refused: Callable[[str], bool]
) -> set[str]:
    """Add to a plan what was heard, and the calls that it shows to have been made; return the steps' names.

    Words of a refusal repeat what was refused, so they are nobody's and never the tool's.
    """
    steps: set[str] = set()
    ran = 0
    for item in fitted(heard):
        if item.kind != _TOOL_RESULT or not item.tool:
            plan.source(item.kind, item.content, name=item.name[:200], digest=item.digest)
            continue
        step, tool = _unused(identifier(item.call_id or "call"), steps), named(item.tool)
        about = {"name": f"result of {tool}"[:200], "digest": item.digest}
        if refused(step) or (item.content or "").startswith(NOT_RUN):
            plan.source(_TOOL_RESULT, item.content, declared_trust="unverified", **about)
            steps.add(step)
            continue
        steps.add(step)
        ran += 1
        if ran <= HISTORY:
            plan.past_step(step, tool)
        plan.source(_TOOL_RESULT, item.content, tool=tool, step_id=step, **about)
    return steps


def _unused(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name[:56]}.{number}"
    return found


def free_step(call_id: str, taken: set[str]) -> str:
    """Return the name of a step for a call: its own, unless an earlier call of the conversation has it."""
    return _unused(identifier(call_id or "call"), taken)


def _within(item: Heard) -> Heard:
    return item if _size(item) <= SOURCE_BYTES else _digested(item)


def _size(item: Heard) -> int:
    return len((item.content or "").encode("utf-8", "replace"))


def _digested(item: Heard) -> Heard:
    data = (item.content or "").encode("utf-8", "replace")
    return replace(item, content=None, digest=hashlib.sha256(data).hexdigest())


def _without(items: Sequence[Heard], gone: set[int]) -> list[Heard]:
    return [item for at, item in enumerate(items) if at not in gone]
