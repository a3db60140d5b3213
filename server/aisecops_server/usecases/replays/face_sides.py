"""The policy of both sides of a flip, line beside line: what the decision hangs on, and what changed beside that.

What hangs on what was found by ``AttributeChange``; which lines held is read from the engine's trace of the decision
on each side. That the lines changed elsewhere did not matter is tried as well: the candidate without them decides the
same, or not. Nothing of it is told on trust.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from aisecops_server.domain.bundles.bundle import Bundle, PolicyTree
from aisecops_server.domain.decisions.held_lines import Mark, Place, held_lines
from aisecops_server.domain.display.facing_text import Block, Pair, around, blocks, facing
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.policy.policy_draft import with_files, with_row
from aisecops_server.domain.policy.policy_meaning import Change, ChangeKind, Part, Row
from aisecops_server.domain.replays.comparison import same
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.ports.replay import Engines, PolicyReader
from aisecops_server.usecases.replays.attribute_change import Cause, Weight
from aisecops_server.usecases.replays.evaluate_documents import Concluded, EvaluateDocuments
from aisecops_server.usecases.replays.resolve_policy import ResolvePolicy

MOST_LINES = 400
LINE_CHARACTERS = 400
# A trace takes much longer than a decision.
_TRACE_FACTOR = 10
_REMEMBERED = 64
_DATA = "data/"

Json = Mapping[str, JsonValue]
Marks = Mapping[Place, Mark]


class Elsewhere(StrEnum):
    """What the lines did that changed elsewhere."""

    DID_NOT_MATTER = "DID_NOT_MATTER"
    MATTERED = "MATTERED"
    NOT_TESTED = "NOT_TESTED"


@dataclass(frozen=True, slots=True)
class FacedSide:
    """One side: its files, the bundle of them as far as there is one, and what it concluded."""

    tree: PolicyTree
    bundle: Bundle | None
    engine: str
    conclusion: Json


@dataclass(frozen=True, slots=True)
class _File:
    """One file on both sides. ``rows`` is set where the candidate's table stands in no file, and values are compared.

    ``concerned`` and ``elsewhere`` are its changed blocks, ``turned`` the unchanged pairs that hold on one side only.
    """

    path: str
    before: Sequence[str]
    after: Sequence[str]
    pairs: Sequence[Pair]
    concerned: Sequence[Block]
    elsewhere: Sequence[Block]
    turned: Sequence[int]
    numbers: tuple[Sequence[int], Sequence[int]]
    rows: Sequence[Change] = ()

    @property
    def shown(self) -> set[int]:
        return {at for block in self.concerned for at in block.pairs} | set(self.turned)


@dataclass(frozen=True, slots=True)
class _Sides:
    decision: RecordedDecision
    before: FacedSide
    after: FacedSide
    causes: Sequence[Change]
    files: Sequence[str]
    marks: tuple[Marks, Marks]
    rows: tuple[Sequence[Row], Sequence[Row]]


@dataclass(frozen=True, slots=True)
class FaceSides:
    """Puts both sides of a flip beside each other, and tries whether what changed elsewhere matters."""

    policies: ResolvePolicy
    evaluate: EvaluateDocuments
    reader: PolicyReader
    engines: Engines
    _found: dict[tuple[str, ...], dict[str, JsonValue]] = field(default_factory=dict)

    async def __call__(
        self,
        decision: RecordedDecision,
        sides: tuple[FacedSide, FacedSide],
        *,
        causes: Sequence[Cause],
        rule_files: Sequence[str],
    ) -> dict[str, JsonValue]:
        """Return the lines of both sides as JSON.

        ``causes`` are the differences that concern the decision, and ``rule_files`` where the rules stand that fire on
        one side only.

        Raises:
            BundleRejectedError: a side cannot be read as policy.
        """
        # Files and engines that have these names, and a document, say everything of this.
        names = (part for side in sides for part in (side.tree.commit, side.engine))
        key = (decision.text("decision_id"), *names, *(cause.weight for cause in causes))
        if key not in self._found:
            found = await self._compared(decision, sides, causes=causes, rule_files=rule_files)
            if found["unmarked_because"] or found["elsewhere_weight"] == Elsewhere.NOT_TESTED.value:
                return found
            if len(self._found) >= _REMEMBERED:
                self._found.pop(next(iter(self._found)))
            self._found[key] = found
        return self._found[key]

    async def _compared(
        self,
        decision: RecordedDecision,
        sides: tuple[FacedSide, FacedSide],
        *,
        causes: Sequence[Cause],
        rule_files: Sequence[str],
    ) -> dict[str, JsonValue]:
        before, after = sides
        decisive = [cause.change for cause in causes if cause.weight is Weight.DECISIVE]
        marks, untraced = await self._marks(decision, sides)
        rows = [(await self.reader.read(side.tree, against=side.tree)).rows for side in sides]
        concern = decisive or [cause.change for cause in causes]
        given = _Sides(decision, before, after, concern, rule_files, marks, (rows[0], rows[1]))
        files = await asyncio.to_thread(_files, given)
        count = sum(block.lines for file in files for block in file.elsewhere)
        weight = await self._elsewhere(given, files) if count else None
        return {
            **_parts(files, given),
            "elsewhere": count,
            "elsewhere_weight": weight.value if weight else "",
            "unmarked_because": untraced,
        }

    async def _marks(
        self, decision: RecordedDecision, sides: tuple[FacedSide, FacedSide]
    ) -> tuple[tuple[Marks, Marks], str]:
        found: list[Marks] = []
        problem = ""
        for side in sides:
            try:
                found.append(await self._traced(decision, side))
            except AisecopsError as error:
                found.append({})
                problem = error.message
        if not problem and not all(found):
            problem = "an engine told no lines"
        return (found[0], found[1]), problem

    async def _traced(self, decision: RecordedDecision, side: FacedSide) -> Marks:
        if side.bundle is None:
            return {}
        engine = await self.engines.acquire(side.bundle, engine=side.engine)
        deadline = self.evaluate.deadline_seconds * _TRACE_FACTOR
        trace = await engine.explain(decision.document, deadline_seconds=deadline)
        return await asyncio.to_thread(held_lines, trace)

    async def _elsewhere(self, given: _Sides, files: Sequence[_File]) -> Elsewhere:
        """Return whether the candidate without what changed elsewhere concludes the same."""
        try:
            draft = await self._without_elsewhere(given, files)
            bundle = await self.policies.bundle(draft)
            [answer] = await self.evaluate([given.decision], bundle, engine=given.after.engine)
        except AisecopsError:
            # What only stands together cannot be taken back alone.
            return Elsewhere.NOT_TESTED
        if not isinstance(answer, Concluded):
            return Elsewhere.NOT_TESTED
        told = given.decision.details if answer.conclusion is None else answer.conclusion
        return Elsewhere.DID_NOT_MATTER if same(given.after.conclusion, told) else Elsewhere.MATTERED

    async def _without_elsewhere(self, given: _Sides, files: Sequence[_File]) -> PolicyTree:
        texts = [file for file in files if file.elsewhere and not file.rows]
        taken = {file.path: _taken_back(file, given) for file in texts}
        tree = with_files(given.after.tree, taken) if taken else given.after.tree
        concerned = {change.path for change in given.causes}
        for change in (row for file in files for row in file.rows if row.path not in concerned):
            tables = (await self.reader.read(tree, against=tree)).tables
            tree = with_row(tree, tables, change.path, change.was, removes=not change.before.file)
        return tree


def _files(given: _Sides) -> list[_File]:
    """Return the files that differ, and those of rules that fire on one side only; those that are shown come first."""
    before, after = given.before.tree.files, given.after.tree.files
    paths = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    found = [_file(path, given) for path in sorted(paths | set(given.files))]
    return sorted(found, key=lambda file: (not file.concerned, not file.turned, file.path))


def _file(path: str, given: _Sides) -> _File:
    if _is_rewritten(path, given):
        return _table(path, given)
    before, after = (_lines(side.tree.files.get(path)) for side in (given.before, given.after))
    pairs = facing(before, after)
    found = blocks(pairs)
    concerned = [block for block in found if _concerns(path, [pairs[at] for at in block.pairs], given)]
    turned = [at for at, pair in enumerate(pairs) if not pair.changed and _turned(path, pair, given.marks)]
    numbers = range(1, len(before) + 1), range(1, len(after) + 1)
    named = path in given.files or bool(concerned)
    elsewhere = [block for block in found if block not in concerned]
    return _File(path, before, after, pairs, concerned, elsewhere, turned if named else (), numbers)


def _is_rewritten(path: str, given: _Sides) -> bool:
    """Return whether the candidate's table was made of values, so that its text is nobody's."""
    made = given.after.tree.files.get(path, b"")
    drafted = path.startswith(_DATA) and path in given.after.tree.drafted
    return drafted and b"\n" not in made and made[:1] == b"{" and b"\n" in given.before.tree.files.get(path, b"")


def _table(path: str, given: _Sides) -> _File:
    """Return a table by its values, one a line; those of the candidate stand in no file."""
    old, new = ({row.path: row for row in rows if row.file == path} for rows in given.rows)
    places = [*old, *(place for place in new if place not in old)]
    changed: list[Change] = []
    pairs: list[Pair] = []
    at = [{place: number for number, place in enumerate(rows)} for rows in (old, new)]
    for place in places:
        was, now = old.get(place), new.get(place)
        differs = was is None or now is None or canonical_bytes(was.value) != canonical_bytes(now.value)
        pairs.append(Pair(at[0].get(place), at[1].get(place), differs))
        if differs:
            changed.append(_row_change(place, was, now))
    concern = {change.path for change in given.causes}
    found = [Block(range(at, at + 1)) for at, pair in enumerate(pairs) if pair.changed]
    of_concern = [block for block in found if places[block.pairs.start] in concern]
    numbers = [row.line for row in old.values()], [0] * len(new)
    before, after = ([_row_text(row) for row in rows.values()] for rows in (old, new))
    elsewhere = [block for block in found if block not in of_concern]
    return _File(path, before, after, pairs, of_concern, elsewhere, (), numbers, rows=changed)


def _row_change(place: tuple[str, ...], was: Row | None, now: Row | None) -> Change:
    part = Part(was.file, was.line) if was else Part()
    kind = ChangeKind.ROW_REMOVED if now is None else ChangeKind.ROW_CHANGED
    return Change(kind, ".".join(place), "", part, Part(), place, was.value if was else None)


def _row_text(row: Row) -> str:
    return f"{'.'.join(row.path[1:])}: {canonical_bytes(row.value).decode()}"


def _concerns(path: str, pairs: Sequence[Pair], given: _Sides) -> bool:
    """Return whether one of the differences that concern the decision stands in a block."""
    sides = (
        (given.rows[0], [pair.before + 1 for pair in pairs if pair.before is not None], "before"),
        (given.rows[1], [pair.after + 1 for pair in pairs if pair.after is not None], "after"),
    )
    for change in given.causes:
        for rows, lines, name in sides:
            part: Part = getattr(change, name)
            if part.file == path and lines and _stands_in(change, part, lines, rows):
                return True
    return False


def _stands_in(change: Change, part: Part, lines: Sequence[int], rows: Sequence[Row]) -> bool:
    if not change.path:
        return any(first <= line <= last for first, last in part.spans for line in lines)
    if not part.line:
        # Values of a working copy have no lines; better one line more is shown than the one that counts is not.
        return True
    starts = {row.line for row in rows if row.file == part.file}
    return any(_owner(starts, line) == part.line for line in lines)


def _owner(starts: Collection[int], line: int) -> int:
    """Return the line on which the value begins that ``line`` is a part of."""
    return max((start for start in starts if start <= line), default=0)


def _turned(path: str, pair: Pair, marks: tuple[Marks, Marks]) -> bool:
    if pair.before is None or pair.after is None or not all(marks):
        return False
    return marks[0].get((path, pair.before + 1)) != marks[1].get((path, pair.after + 1))


def _taken_back(file: _File, given: _Sides) -> bytes | None:
    """Return the candidate's file without what changed elsewhere in it; nothing where it would not be there."""
    was, now = (side.tree.files.get(file.path) for side in (given.before, given.after))
    if not file.concerned:
        return was
    old, new = (_split(content) for content in (was, now))
    back = {at for block in file.elsewhere for at in block.pairs}
    kept: list[bytes] = []
    for at, pair in enumerate(file.pairs):
        lines, index = (old, pair.before) if at in back else (new, pair.after)
        kept += [lines[index]] if index is not None else []
    return b"".join(line + b"\n" for line in kept)


def _lines(content: bytes | None) -> list[str]:
    return [line.decode("utf-8", "replace").rstrip("\r") for line in _split(content)]


def _split(content: bytes | None) -> list[bytes]:
    """Return the lines; only what ends a line for the engine does so here."""
    parts = (content or b"").split(b"\n")
    return parts if parts[-1] else parts[:-1]


def _parts(files: Sequence[_File], given: _Sides) -> dict[str, JsonValue]:
    """Return the lines to show: first those that count, then those that changed elsewhere, each up to a bound."""
    room = {True: MOST_LINES, False: MOST_LINES}
    left_out = 0
    told: list[JsonValue] = []
    for file in files:
        parts: list[JsonValue] = []
        for concerns, run in _runs(file):
            if len(run) > room[concerns]:
                left_out += len(run)
                continue
            room[concerns] -= len(run)
            parts.append({"lines": list(_told(file, run, given.marks)), "concerns": concerns})
        if parts:
            names = [file.path if file.path in side.tree.files else "" for side in (given.before, given.after)]
            told.append({"before_file": names[0], "after_file": names[1], "by_value": bool(file.rows), "parts": parts})
    return {"files": told, "left_out": left_out}


def _runs(file: _File) -> Iterator[tuple[bool, Sequence[int]]]:
    shown = [list(run) for run in around(file.shown, len(file.pairs))]
    yield from ((True, run) for run in shown)
    seen = {at for run in shown for at in run}
    others = {at for block in file.elsewhere for at in block.pairs} - seen
    for run in around(others, len(file.pairs)):
        yield False, [at for at in run if at not in seen]


def _told(file: _File, run: Sequence[int], marks: tuple[Marks, Marks]) -> Iterator[JsonValue]:
    of = _line_of(file, marks)
    concerned = {at for block in file.concerned for at in block.pairs}
    for at in run:
        pair = file.pairs[at]
        sides = {"before": of(0, pair.before), "after": of(1, pair.after)}
        told = {name: side for name, side in sides.items() if side is not None}
        yield {**told, "changed": pair.changed, "concerns": at in concerned}


def _line_of(file: _File, marks: tuple[Marks, Marks]) -> Callable[[int, int | None], JsonValue]:
    texts = (file.before, file.after)

    def of(side: int, at: int | None) -> JsonValue:
        if at is None:
            return None
        number = file.numbers[side][at]
        mark = marks[side].get((file.path, number))
        return {"number": number, "text": _cut(texts[side][at]), "mark": mark.value if mark else ""}

    return of


def _cut(text: str) -> str:
    left = len(text) - LINE_CHARACTERS
    return text if left <= 0 else f"{text[:LINE_CHARACTERS]}… {left:,} more characters"
