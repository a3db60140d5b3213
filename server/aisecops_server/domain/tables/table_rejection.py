"""Why tables are refused, in words of somebody who edits them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aisecops_server.domain.errors import AisecopsError, BundleRejectedError
from aisecops_server.domain.tables.table_fields import Entry

_LIKENESS = 0.75
_SHOWN = 60
# Errors of ours, whose words hold the value where it helps.
_SAYS_WHAT_IS_GIVEN = ("value_error", "assertion_error", "missing")


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
        given = error["input"]
        known = isinstance(given, str | int | float) and error["type"] not in _SAYS_WHAT_IS_GIVEN
        return f"{error['msg']}, not {json.dumps(given, ensure_ascii=False)[:_SHOWN]}" if known else error["msg"]
    fields = {name for model in Entry.__subclasses__() for name in model.model_fields}
    return f"there is no such field{meant(str(error['loc'][-1]), fields)}"


def first_of(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """Return the error to tell first: a field that is missing may stand there with a slip in its name."""
    first = errors[0]
    if first["type"] != "missing":
        return first
    beside = [
        error for error in errors if error["type"] == "extra_forbidden" and error["loc"][:-1] == first["loc"][:-1]
    ]
    wanted = str(first["loc"][-1])
    return next((error for error in beside if meant(str(error["loc"][-1]), [wanted])), first)


def meant(word: str, known: Iterable[str]) -> str:
    """Return what ``word`` may have been meant for, as the rest of a sentence."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=_LIKENESS)
    return f"; the nearest is '{close[0]}'" if close else ""


def why_unusable(error: Exception) -> str:
    """Return why a file that people edit cannot be used, in a few words."""
    match error:
        case ValidationError():
            first = error.errors()[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        case AisecopsError():
            return error.message
        case OSError():
            return error.strerror or "it cannot be read"
        case _:
            return str(error)
