"""The catalogue of a policy's rules: what each is for, who answers for it, its tests, and how often it was found.

Pages are Markdown that a Git host shows. What a rule says of itself was written by people, so it is put into cells and
code in which it can begin nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.check_reports import cell, code


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """One rule of one revision. ``fired`` is how often it was found, ``None`` where no history was asked."""

    rule: str
    title: str
    description: str
    effect: str
    severity: str
    owner: str
    remedy: str
    mappings: tuple[str, ...]
    file: str
    line: int
    tests: tuple[str, ...]
    page: str = ""
    fired: int | None = None
    example: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """Return the entry as JSON."""
        return {
            "rule": self.rule,
            "title": self.title,
            "description": self.description,
            "effect": self.effect,
            "severity": self.severity,
            "owner": self.owner,
            "remedy": self.remedy,
            "mappings": list(self.mappings),
            "file": self.file,
            "line": self.line,
            "tests": list(self.tests),
            "page": self.page,
            "fired": self.fired,
            "example": self.example,
        }


@dataclass(frozen=True, slots=True)
class Firings:
    """How often rules were found in how many decisions, and the newest trace of each."""

    decisions: int
    counts: Mapping[str, int]
    examples: Mapping[str, str]


def sentence_of(test: str) -> str:
    """Return the name of a test as the sentence that it is."""
    return test.removeprefix("test_").replace("_", " ")


def pages(entries: Sequence[RuleEntry], *, revision: str, decisions: int | None) -> dict[str, str]:
    """Return the pages of a catalogue by path: an index, and one for each rule."""
    found = {"README.md": _index(entries, revision, decisions)}
    return found | {f"{entry.rule}.md": _page(entry, revision) for entry in entries}


def _index(entries: Sequence[RuleEntry], revision: str, decisions: int | None) -> str:
    counted = "" if decisions is None else f" How often each was found is counted over {decisions:,} decisions."
    lines = ["# Rules", "", f"The rules of `{code(revision)}`.{counted}", ""]
    lines += [
        "| rule | title | effect | severity | owner | tests | found |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for entry in entries:
        fired = "" if entry.fired is None else str(entry.fired)
        words = (entry.title, entry.effect, entry.severity, entry.owner, str(len(entry.tests)), fired)
        lines.append(f"| [{cell(entry.rule)}]({entry.rule}.md) | {' | '.join(map(cell, words))} |")
    never = [entry.rule for entry in entries if entry.fired == 0]
    if never:
        lines += ["", f"Never found: {', '.join(f'`{code(rule)}`' for rule in never)}."]
    return "\n".join(lines) + "\n"


def _page(entry: RuleEntry, revision: str) -> str:
    lines = [f"# {cell(entry.rule)}", "", f"**{cell(entry.title)}.** {cell(entry.description)}", ""]
    lines += ["| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in _facts(entry, revision)]
    lines += ["", "## Tests", "", *(f"- {cell(sentence_of(test))}" for test in entry.tests)]
    if entry.page:
        lines += ["", "## What its authors say", "", entry.page.partition("\n")[2].strip()]
    return "\n".join(lines) + "\n"


def _facts(entry: RuleEntry, revision: str) -> Iterator[tuple[str, str]]:
    yield "effect", cell(entry.effect)
    yield "severity", cell(entry.severity)
    yield "owner", cell(entry.owner)
    yield "remedy", cell(entry.remedy)
    yield "mappings", ", ".join(f"`{code(mapping)}`" for mapping in entry.mappings)
    yield "stands at", f"`{code(entry.file)}:{entry.line}` of `{code(revision)}`"
    if entry.fired is not None:
        example = f", last in trace `{code(entry.example)}`" if entry.example else ""
        yield "found", f"{entry.fired} times{example}"
