"""Frameworks and their requirements as a policy repository maps them: what we do about each, and what shows it.

Owns the contract of ``compliance/*.yaml``. Each row names its edition's own id, says in our words what it asks for, how
far it is covered and why not further, and what can be looked at: rules, kinds of events, scenarios that are decided by
the real engine, and checks of the running control plane. A row that claims coverage names something that can fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from aisecops_server.domain.errors import BundleRejectedError, NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.table_fields import Entry, Text
from aisecops_server.domain.tables.table_rejection import told

DIRECTORY = "compliance/"
MOST_FRAMEWORKS = 64
MOST_REQUIREMENTS = 500

FrameworkId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
RequirementId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .,()\-–]{0,63}$")]


class Coverage(StrEnum):
    """How far the product answers a requirement."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


class RequirementEntry(Entry):
    """One row: what is asked for, what is done about it, and what shows that it is done."""

    title: Text
    coverage: Literal["full", "partial", "none"]
    how: str = ""
    gap: str = ""
    rules: tuple[Text, ...] = Field(default=(), strict=False)
    events: tuple[Text, ...] = Field(default=(), strict=False)
    scenarios: tuple[Text, ...] = Field(default=(), strict=False)
    checks: tuple[Text, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _claims_what_can_fail(self) -> RequirementEntry:
        shown = (*self.rules, *self.events, *self.scenarios, *self.checks)
        if self.coverage == "none":
            if shown or self.how:
                raise ValueError("coverage is none, so nothing can show it: leave how, rules and the rest away")
        elif not self.how or not (self.scenarios or self.checks):
            raise ValueError("coverage is claimed: say how, and name a scenario or a check that can fail")
        if self.coverage != "full" and not self.gap:
            raise ValueError("coverage is not full: say under 'gap' what is not covered")
        return self


class FrameworkFile(Entry):
    """One file: a framework, the edition that is mapped, and its rows.

    ``rules_named_by`` is ``metadata`` where rules themselves say which requirements they serve, and ``rows`` where the
    rows do; never both, so that the two cannot disagree. A row may name all rules of a category, as ``CATEGORY.*``.
    """

    framework: FrameworkId
    title: Text
    edition: Text
    publisher: Text
    source: Annotated[str, Field(pattern=r"^https://\S+$")]
    rules_named_by: Literal["metadata", "rows"]
    note: str = ""
    requirements: dict[RequirementId, RequirementEntry]

    @model_validator(mode="after")
    def _names_rules_in_one_place(self) -> FrameworkFile:
        if self.rules_named_by == "metadata" and any(row.rules for row in self.requirements.values()):
            raise ValueError("rules_named_by is metadata, so no row names rules: write 'mappings' in their METADATA")
        if len(self.requirements) > MOST_REQUIREMENTS:
            raise ValueError(f"more than {MOST_REQUIREMENTS} requirements")
        return self


@dataclass(frozen=True, slots=True)
class Requirement:
    """One row with everything that is mapped to it."""

    framework: str
    id: str
    title: str
    coverage: Coverage
    how: str
    gap: str
    rules: tuple[str, ...]
    events: tuple[str, ...]
    scenarios: tuple[str, ...]
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework in the edition that is mapped. ``note`` is for who reads the table."""

    id: str
    title: str
    edition: str
    publisher: str
    source: str
    note: str
    requirements: tuple[Requirement, ...]


def read_frameworks(files: Mapping[str, JsonValue], mappings: Mapping[str, tuple[str, ...]]) -> tuple[Framework, ...]:
    """Return the frameworks of the files under ``compliance/``, whose parsed content is given by path.

    ``mappings`` says which requirements each rule serves, by its METADATA.

    Raises:
        BundleRejectedError: a file does not hold a framework, or a framework stands in two.
    """
    found: dict[str, FrameworkFile] = {}
    for path in sorted(files):
        held = _file(path, files[path])
        if path != f"{DIRECTORY}{held.framework}.yaml":
            raise _rejected(path, f"it maps '{held.framework}', so it is called {DIRECTORY}{held.framework}.yaml")
        found[held.framework] = held
    if len(found) > MOST_FRAMEWORKS:
        raise _rejected(DIRECTORY, f"{len(found)} frameworks, at most {MOST_FRAMEWORKS} are allowed")
    return tuple(_framework(held, mappings) for held in found.values())


def chosen(frameworks: tuple[Framework, ...], id: str) -> tuple[Framework, ...]:
    """Return all frameworks, or the one that is named.

    Raises:
        NotFoundError: there is none of that id.
    """
    named = tuple(framework for framework in frameworks if id in ("", framework.id))
    if id and not named:
        known = ", ".join(framework.id for framework in frameworks) or "none"
        raise NotFoundError(f"no framework {id[:64]} is mapped", hint=f"There are: {known}", id=id[:64])
    return named


def unknown_mappings(
    frameworks: tuple[Framework, ...], mappings: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    """Yield each rule with what it says it serves and that no framework has."""
    known = {f"{row.framework}:{row.id}" for framework in frameworks for row in framework.requirements}
    yield from ((rule, name) for rule, names in sorted(mappings.items()) for name in names if name not in known)


def _framework(held: FrameworkFile, mappings: Mapping[str, tuple[str, ...]]) -> Framework:
    rows = []
    for row_id, row in held.requirements.items():
        name = f"{held.framework}:{row_id}"
        own = tuple(rule for rule, names in sorted(mappings.items()) if name in names)
        rules = own if held.rules_named_by == "metadata" else tuple(_expanded(row.rules, mappings))
        rows.append(
            Requirement(
                held.framework,
                row_id,
                title=row.title,
                coverage=Coverage(row.coverage),
                how=row.how,
                gap=row.gap,
                rules=rules,
                events=row.events,
                scenarios=row.scenarios,
                checks=row.checks,
            )
        )
    return Framework(
        held.framework,
        title=held.title,
        edition=held.edition,
        publisher=held.publisher,
        source=held.source,
        note=held.note,
        requirements=tuple(rows),
    )


def _expanded(rules: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """Yield rules by name; ``CATEGORY.*`` stands for all rules of a category, and for itself where there are none."""
    for rule in rules:
        category = rule.removesuffix("*")
        found = [name for name in sorted(known) if rule.endswith(".*") and name.startswith(category)]
        yield from found or [rule]


def _file(path: str, content: JsonValue) -> FrameworkFile:
    try:
        return FrameworkFile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise _rejected(path, f"{place}: {told(first)}") from error


def _rejected(path: str, problem: str) -> BundleRejectedError:
    return BundleRejectedError(f"{path}: {problem}", hint="Mend the mapping in the policy repository", file=path)
