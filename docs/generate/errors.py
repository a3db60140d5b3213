"""The page of error reasons: what each means, its status code, and what it carries."""

from __future__ import annotations

from collections.abc import Iterator

from aisecops_server.domain import errors
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.entrypoints.grpc import status

from docs.generate import api
from docs.generate.markdown import code, one_line, table

PREFIX = "ERROR_REASON_"
INTRODUCTION = """# Error reasons

Every error of the API carries a `google.rpc.ErrorInfo` with domain `aisecops` and one of these reasons; its metadata
holds the machine-readable facts and its message says what to do. Internal text never crosses the wire.

Whatever the error, nothing was allowed: a client treats every status but `OK`, and every outcome but `ALLOW`, as a
denial. A denial itself is no error; it is an answer with status `OK` and outcome `DENY`.

"""


def page() -> str:
    """Return the page."""
    return INTRODUCTION + table(["reason", "status", "meaning", "metadata, for example"], _rows())


def _rows() -> Iterator[list[str]]:
    kinds = {kind.reason: kind for kind in vars(errors).values() if _is_error(kind)}
    for file in api.descriptors():
        said = api.comments(file)
        for at, enum in enumerate(file.enum_type):
            if enum.name != "ErrorReason":
                continue
            for value_at, value in enumerate(enum.value):
                reason = value.name.removeprefix(PREFIX)
                if reason != "UNSPECIFIED":
                    meaning, _, example = said[(5, at, 2, value_at)].partition(" Metadata: ")
                    text = meaning.removeprefix(f"{value.name}: ")
                    yield [
                        code(reason),
                        code(_status(kinds[reason])),
                        one_line(text[:1].upper() + text[1:]),
                        code(example.rstrip(".")),
                    ]


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, AisecopsError)


def _status(kind: type[AisecopsError]) -> str:
    return str(status.code_of(kind("")).name)
