"""Why tables are refused, in words of somebody who edits them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic_core import ErrorDetails

from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.table_fields import Entry

_LIKENESS = 0.75


def rejected(table: str, key: str, problem: str) -> BundleRejectedError:
    """Return the error that names a table, a key in it (empty: the whole of it) and the problem."""
    where = f"table {table}, key {key}" if key else f"table {table}"
    return BundleRejectedError(
        f"{where}: {problem}",
        hint=f"Mend data/{table}.yaml in the policy repository; the live revision stays",
        table=table,
        key=key,
    )


def told(error: ErrorDetails) -> str:
    """Return what is wrong with one value."""
    if error["type"] != "extra_forbidden":
        return error["msg"]
    fields = {name for model in Entry.__subclasses__() for name in model.model_fields}
    return f"there is no such field{meant(str(error['loc'][-1]), fields)}"


def meant(word: str, known: Iterable[str]) -> str:
    """Return what ``word`` may have been meant for, as the rest of a sentence."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=_LIKENESS)
    return f"; the nearest is '{close[0]}'" if close else ""
