"""Waivers: problems of checks that somebody answers for, each by its code and subject, until a day.

They stand in ``waivers.yaml`` of the policy repository. A waived problem is still told, as a note; a waiver that
expired, or that waives nothing, is told too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from pydantic import Field, RootModel

from aisecops_server.domain.policy.dated_entry import DatedEntry
from aisecops_server.domain.policy.policy_check import Level, Problem
from aisecops_server.domain.policy.policy_paths import WAIVERS
from aisecops_server.domain.tables.table_fields import Text

# What nobody may waive: without these there is nothing to decide with, or nothing that can be read.
NEVER_WAIVED = ("compile.", "build.", "waiver.")


class Waiver(DatedEntry):
    """One problem that is let pass."""

    code: Text = Field(description="The problem's code, as the check prints it.")
    subject: Text = Field(description="What the problem is about, as the check prints it.")


class Waivers(RootModel[list[Waiver]]):
    """What is let pass."""


def waived(problems: Sequence[Problem], waivers: Sequence[Waiver], *, today: date) -> tuple[Problem, ...]:
    """Return ``problems`` with those that a waiver names as notes."""
    return tuple(_waived(problem, waivers, today) for problem in problems)


def problems_of_waivers(waivers: Sequence[Waiver], *, today: date) -> tuple[Problem, ...]:
    """Return what is wrong with waivers themselves."""
    found = []
    for waiver in waivers:
        why = waiver.problem_on(today)
        if waiver.code.startswith(NEVER_WAIVED):
            why = "nobody can waive that"
        if why:
            found.append(
                Problem(
                    "waiver.unusable",
                    f"the waiver of {waiver.code} for {waiver.subject} does not count: {why}",
                    hint="Mend what it waives, or have it given anew by its owner",
                    path=WAIVERS,
                    subject=waiver.subject,
                )
            )
    return tuple(found)


def _waived(problem: Problem, waivers: Sequence[Waiver], today: date) -> Problem:
    if problem.level is Level.NOTE or problem.code.startswith(NEVER_WAIVED):
        return problem
    for waiver in waivers:
        named = (waiver.code, waiver.subject) == (problem.code, problem.subject)
        if named and not waiver.problem_on(today):
            told = f"{problem.message} (waived until {waiver.expires} by {waiver.owner}: {waiver.reason})"
            return replace(problem, level=Level.NOTE, message=told, hint="")
    return problem
