"""What a rule's text says of it, read without the engine: METADATA by its comment lines, tests by their names.

Good for comparing two states of one file, and for lists; what is decided on is what the engine reads.
"""

from __future__ import annotations

from collections.abc import Iterator

from aisecops_server.domain.bundles.bundle import RuleDoc
from aisecops_server.domain.policy.policy_erosion import RuleFacts

_TEST = "test_"
_PACKAGE = "package aisecops.rules."


def rule_facts(path: str, text: str, test: str) -> RuleFacts:
    """Return what a rule's file and its tests say."""
    metadata = dict(_metadata(text))
    effect, line = metadata.get("effect", ("", 1))
    return RuleFacts(path, line, effect, metadata.get("severity", ("", 1))[0], len(set(names_of_tests(test))))


def rule_doc(path: str, text: str) -> RuleDoc | None:
    """Return what the file of a rule says of it and where it is declared, or ``None`` for a file of no rule."""
    lines = text.splitlines()
    at = next((number for number, line in enumerate(lines) if line.startswith("package ")), -1)
    if at < 0 or not lines[at].startswith(_PACKAGE):
        return None
    said = dict(_metadata(text))
    words = {name: said.get(name, ("", 0))[0] for name in ("title", "description", "effect", "severity", "owner")}
    return RuleDoc(rule=lines[at].removeprefix(_PACKAGE).strip(), **words, file=path, line=at + 1)


def names_of_tests(text: str) -> Iterator[str]:
    """Yield the names of the tests in a file of tests."""
    for line in text.splitlines():
        if line.startswith(_TEST):
            yield line.split()[0].partition("(")[0]


def _metadata(text: str) -> Iterator[tuple[str, tuple[str, int]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("#"):
            if line.startswith("package "):
                return
            continue
        key, colon, value = line.lstrip("# ").partition(":")
        if colon and value.strip():
            yield key.strip(), (value.strip().strip("'\""), number)
