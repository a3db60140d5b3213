"""Frameworks and requirements as the shipped policy maps them, unchecked."""

from __future__ import annotations

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.domain.compliance.compliance import DIRECTORY, Framework, Requirement, read_frameworks
from aisecops_server.domain.policy.rule_mappings import mappings_of
from aisecops_server.usecases.compliance.live_checks import LIVE_CHECKS

from docs.generate.markdown import code, table

INTRODUCTION = """# Frameworks

What the shipped policy says of each requirement, in our words: how far it is covered, by what, and what is not.
Nothing on this page says that it holds; `aisecops compliance check` decides the scenarios and says so
([show auditors the controls](../how-to/show-auditors-the-controls.md)).

A mapping is our reading of a framework and no certificate of anything.

"""
_HEADINGS = ["requirement", "coverage", "how", "not covered", "shown by"]


def page() -> str:
    """Return the page."""
    policy = shipped_policy()
    files = {path: parse_yaml(path, content) for path, content in policy.items() if path.startswith(DIRECTORY)}
    frameworks = read_frameworks(files, mappings_of(policy, parse_yaml))
    checks = table(["check", "passes while"], [[code(name), about] for name, about in LIVE_CHECKS.items()])
    return "".join([INTRODUCTION, *map(_framework, frameworks), "## Live checks\n\n", checks])


def _framework(framework: Framework) -> str:
    note = f" {framework.note}" if framework.note else ""
    about = f"{framework.publisher}, edition {framework.edition}. [Source]({framework.source}).{note}"
    rows = table(_HEADINGS, [_row(row) for row in framework.requirements])
    return f"## {framework.title}\n\n`{framework.id}`: {about}\n\n{rows}\n"


def _row(row: Requirement) -> list[str]:
    parts = [*map(code, row.rules), *(f"“{name}”" for name in row.scenarios), *map(code, (*row.checks, *row.events))]
    return [f"{row.id} {row.title}", row.coverage.value, row.how, row.gap, ", ".join(parts)]
