"""One list of error reasons: the API's enum, the error classes, the table of status codes and the reference page."""

from __future__ import annotations

from aisecops.v1 import error_reason_pb2
from aisecops_server.domain import errors
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.entrypoints.grpc import status

from tests.house import tree

PREFIX = "ERROR_REASON_"


def _enum() -> set[str]:
    return {name.removeprefix(PREFIX) for name in dict(error_reason_pb2.ErrorReason.items())} - {"UNSPECIFIED"}


def _kinds() -> list[type[AisecopsError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AisecopsError)]


def test_every_reason_of_the_api_is_exactly_one_error_class() -> None:
    assert sorted(kind.reason for kind in _kinds()) == sorted(_enum())


def test_every_reason_has_its_status_code() -> None:
    assert sorted(status.CODE_OF_REASON) == sorted(_enum())


def test_every_error_class_says_what_happened_and_is_called_an_error() -> None:
    kinds = _kinds()
    assert [kind.__name__ for kind in kinds if not (kind.__doc__ or "").strip()] == []
    assert [kind.__name__ for kind in kinds if not kind.__name__.endswith("Error")] == []


def test_every_reason_is_on_the_reference_page() -> None:
    page = tree.text("docs/reference/error-reasons.md")
    assert [reason for reason in sorted(_enum()) if f"`{reason}`" not in page] == []
