"""Changes of state that are only ever stored together with the events that tell of them.

A change says what is to become of stored state and under which condition. The store checks the condition and applies
the change inside the transaction that appends the events, so that what the log says and what the state is can never
differ, and so that of two who race for the same thing exactly one wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Change:
    """Base of all changes. ``kind`` names the state it is about; a store refuses a kind that it does not know."""

    kind: ClassVar[str] = ""
