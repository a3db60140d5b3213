"""What checks of a policy found: each problem with its place and what to do about it, summed up in one report.

Pure values. A check that could not run is ``skipped``, which is never counted as passed, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from aisecops_server.domain.formats.canonical import JsonValue


class CheckName(StrEnum):
    """The checks, in the order in which people mend what they find."""

    FORMAT = "format"
    COMPILE = "compile"
    LINT = "lint"
    CONFTEST = "conftest"
    TEST = "test"
    RULES = "rules"
    GOLDEN = "golden"
    BUILD = "build"
    CHANGES = "changes"


MEANINGS: Mapping[CheckName, str] = {
    CheckName.FORMAT: "Rego is formatted as the engine formats it",
    CheckName.COMPILE: "tables fit their models, and Rego compiles strictly with types and allowed built-ins only",
    CheckName.LINT: "rules say what they are, and do nothing that cannot be repeated or seen",
    CheckName.CONFTEST: "tables and manifests keep to the organisation's own conditions",
    CheckName.TEST: "tests pass, and run every line of policy",
    CheckName.RULES: "each rule has a test that notices when it never fires, and one when it always does",
    CheckName.GOLDEN: "golden cases are decided as their authors expect",
    CheckName.BUILD: "the bundle is built, signed and read again",
    CheckName.CHANGES: "what changed since the base takes nothing away that nobody waived",
}


class Level(StrEnum):
    """How much a problem counts: an error fails the check, a warning and a note do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class CheckState(StrEnum):
    """What came of a check."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to mend. ``code`` is stable; ``line`` is 0 where there is none; ``subject`` is what a waiver names."""

    code: str
    message: str
    hint: str = ""
    path: str = ""
    line: int = 0
    subject: str = ""
    level: Level = Level.ERROR

    @property
    def place(self) -> str:
        """Return file and line as people click on them."""
        return f"{self.path}:{self.line}" if self.path and self.line else self.path

    def as_json(self) -> dict[str, JsonValue]:
        """Return the problem as JSON."""
        return {
            "code": self.code,
            "level": self.level.value,
            "message": self.message,
            "hint": self.hint,
            "path": self.path,
            "line": self.line,
            "subject": self.subject,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, JsonValue]) -> Problem:
        """Return the problem that ``as_json`` wrote.

        Raises:
            KeyError, ValueError: it is something else.
        """
        texts = {name: str(stored[name]) for name in ("code", "message", "hint", "path", "subject")}
        return cls(**texts, line=int(str(stored["line"])), level=Level(str(stored["level"])))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found. ``facts`` are figures worth telling; ``skipped`` says why it did not run."""

    name: CheckName
    problems: tuple[Problem, ...] = ()
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    skipped: str = ""
    milliseconds: int = 0
    remembered: bool = False

    @property
    def state(self) -> CheckState:
        """Return what came of it."""
        if self.skipped:
            return CheckState.SKIPPED
        return CheckState.FAILED if self.errors else CheckState.OK

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return the problems that fail the check."""
        return tuple(problem for problem in self.problems if problem.level is Level.ERROR)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the result as JSON."""
        return {
            "name": self.name.value,
            "state": self.state.value,
            "meaning": MEANINGS[self.name],
            "skipped": self.skipped,
            "milliseconds": self.milliseconds,
            "remembered": self.remembered,
            "facts": dict(self.facts),
            "problems": [problem.as_json() for problem in self.problems],
        }


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What all checks of one policy found, in their order."""

    name: str
    results: tuple[CheckResult, ...]
    base: str = ""

    @property
    def passed(self) -> bool:
        """Return whether no check failed."""
        return not any(result.state is CheckState.FAILED for result in self.results)

    @property
    def problems(self) -> tuple[tuple[CheckName, Problem], ...]:
        """Return all problems with the check that found each."""
        return tuple((result.name, problem) for result in self.results for problem in result.problems)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the report as JSON."""
        levels = [problem.level for _, problem in self.problems]
        return {
            "policy": self.name,
            "base": self.base,
            "passed": self.passed,
            "errors": levels.count(Level.ERROR),
            "warnings": levels.count(Level.WARNING),
            "checks": [result.as_json() for result in self.results],
        }


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return problems by place, each once."""
    return tuple(sorted(set(problems), key=lambda each: (each.path, each.line, each.code, each.message)))
