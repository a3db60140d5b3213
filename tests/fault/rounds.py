"""How often a fault is injected: a few times in every run of the tests, many times in ``make test-faults``."""

from __future__ import annotations

import os

MANY = "AISECOPS_FAULTS"


def rounds(few: int, *, of_many: int) -> int:
    """Return how many rounds a test makes."""
    return of_many if os.environ.get(MANY) == "many" else few
