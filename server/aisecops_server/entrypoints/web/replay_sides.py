"""The policy of both sides of a flip, as rows of a page: the lines on which the decision hangs, or all that changed.

A page holds ``MOST_ROWS`` rows; what is left out is counted, and is in the page's data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aisecops.v1 import replay_pb2

from aisecops_server.domain.display.words import counted
from aisecops_server.entrypoints.web.addresses import address

MOST_ROWS = 120
MARKS: Mapping[str, tuple[str, str]] = {"HELD": ("✓", "held"), "FAILED": ("✕", "did not hold")}
# How a changed line is told on each side: its sign, its tone and the word for it.
_GONE, _NEW = ("−", "gone", "removed"), ("+", "new", "added")
_WORDS: Mapping[str, str] = {
    "DID_NOT_MATTER": "{lines} changed elsewhere did not matter here: without {them} the decision is the same.",
    "MATTERED": "{lines} changed elsewhere, and without {them} the decision is not the same.",
    "NOT_TESTED": "{lines} changed elsewhere; whether {they} here could not be tried alone.",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of one side. ``label`` says the number and the mark in words; ``tone`` is how the text looks."""

    number: str
    label: str
    mark: str
    text: str
    tone: str


@dataclass(frozen=True, slots=True)
class FileRows:
    """A file: what it is called and where it is read on both sides, and rows in parts. A side may be missing."""

    before: str
    after: str
    before_to: str
    after_to: str
    by_value: bool
    parts: Sequence[Sequence[tuple[Cell | None, Cell | None]]]


@dataclass(frozen=True, slots=True)
class SidesView:
    """Both policies as a page shows them. ``elsewhere`` says what else changed, ``to`` shows or hides it."""

    files: Sequence[FileRows]
    elsewhere: str
    to: str
    opened: bool
    left_out: int
    unmarked_because: str


def sides_view(
    replay: replay_pb2.Replay, why: replay_pb2.ChangeExplanation, *, here: Mapping[str, str], opened: bool
) -> SidesView | None:
    """Return both policies for a page; nothing where one of them is not there.

    ``here`` are the parameters of the page's address, and ``opened`` whether what changed elsewhere is shown.
    """
    if not why.HasField("sides"):
        return None
    room = _Room(MOST_ROWS)
    links = (_link(why.before_revision, replay.baseline), _link(why.after_revision, replay.candidate))
    found = [_file(file, links, room, opened=opened) for file in why.sides.files]
    return SidesView(
        files=[file for file in found if file.parts],
        elsewhere=_elsewhere(why.sides),
        to=address(f"/replays/{replay.replay_id}", **{**here, "elsewhere": "" if opened else "1"}) + "#sides",
        opened=opened,
        left_out=room.left_out + int(why.sides.left_out),
        unmarked_because=why.sides.unmarked_because,
    )


@dataclass(slots=True)
class _Room:
    """How many rows still find room on the page, and how many did not."""

    rows: int
    left_out: int = 0

    def take(self, lines: Sequence[replay_pb2.FacingLine]) -> Sequence[replay_pb2.FacingLine]:
        """Return those of ``lines`` that have room."""
        kept = lines[: self.rows]
        self.rows -= len(kept)
        self.left_out += len(lines) - len(kept)
        return kept


def _file(file: replay_pb2.FacingFile, links: tuple[_To, _To], room: _Room, *, opened: bool) -> FileRows:
    wanted = [part for part in file.parts if part.concerns != opened]
    lines = [line for part in wanted[:1] for line in part.lines]
    before = next((line.before.number for line in lines if line.HasField("before")), 0)
    after = next((line.after.number for line in lines if line.HasField("after")), 0)
    return FileRows(
        before=_place(file.before_file, before),
        after=_place(file.after_file, after),
        before_to=links[0](file.before_file, before),
        after_to=links[1](file.after_file, after),
        by_value=file.by_value,
        parts=[rows for part in wanted if (rows := [_row(line) for line in room.take(part.lines)])],
    )


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if file and line else file


_To = Callable[[str, int], str]


def _link(revision: str, side: replay_pb2.ReplaySide) -> _To:
    """Return what gives the address of a line; there is none of what stands in no commit."""
    in_commit = not side.changes and side.name != "working copy"

    def to(file: str, line: int) -> str:
        if not file or not line or not in_commit:
            return ""
        return address(f"/revisions/{revision}/files/{file}") + f"#L{line}"

    return to


def _row(line: replay_pb2.FacingLine) -> tuple[Cell | None, Cell | None]:
    return (
        _cell(line, line.before, _GONE) if line.HasField("before") else None,
        _cell(line, line.after, _NEW) if line.HasField("after") else None,
    )


def _cell(line: replay_pb2.FacingLine, one: replay_pb2.FacedLine, change: tuple[str, str, str]) -> Cell:
    sign, tone, word = change if line.changed else ("", "", "")
    glyph, held = MARKS.get(one.mark, ("", ""))
    number = str(one.number or "")
    label = ", ".join(part for part in (f"line {number}" if number else "value", word, held) if part)
    return Cell(f"{sign}{number}", label, glyph, one.text, tone if line.concerns or not tone else "else")


def _elsewhere(sides: replay_pb2.FacingPolicies) -> str:
    count = int(sides.elsewhere)
    if not count:
        return ""
    them, they = ("it", "it matters") if count == 1 else ("them", "they matter")
    said = {"lines": counted(count, "line"), "them": them, "they": they}
    return _WORDS.get(sides.elsewhere_weight, _WORDS["NOT_TESTED"]).format(**said)
