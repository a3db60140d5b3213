"""One list of error reasons: the API's enum, the error classes, the table of status codes and the reference page."""

from __future__ import annotations

import ast
import builtins
import json
import re

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


def test_every_example_of_metadata_has_the_names_that_the_errors_carry() -> None:
    carried: dict[str, set[str]] = {}
    kinds = {kind.__name__: kind.reason for kind in _kinds()}
    for path in tree.under(f"{tree.SERVER}/", suffix=".py"):
        for node in ast.walk(tree.parsed(path)):
            if isinstance(node, ast.Call) and (reason := kinds.get(getattr(node.func, "id", ""))):
                names = {keyword.arg for keyword in node.keywords if keyword.arg not in (None, "hint")}
                carried.setdefault(reason, set()).update(names)
    said = re.findall(r"ERROR_REASON_(\w+): .*Metadata: (\{.*\})\.", tree.text("proto/aisecops/v1/error_reason.proto"))
    assert {reason for reason, _ in said} == _enum()
    assert [reason for reason, example in said if not json.loads(example).keys() <= carried.get(reason, set())] == []


def test_no_exception_is_frozen() -> None:
    """Python sets the traceback and the context of what is raised, which a frozen class refuses with another error."""
    paths = [path for path in tree.files() if path.endswith(".py")]
    classes = [node for path in paths for node in ast.walk(tree.parsed(path)) if isinstance(node, ast.ClassDef)]
    raised = {
        name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    while more := {node.name for node in classes if _bases(node) & raised} - raised:
        raised |= more
    frozen = [node.name for node in classes if _bases(node) & raised and "frozen=True" in _marks(node)]
    assert frozen == []
    assert {"AisecopsError", "Fault"} <= raised


def _bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).rpartition(".")[2] for base in node.bases}


def _marks(node: ast.ClassDef) -> str:
    return " ".join(map(ast.unparse, node.decorator_list))


def test_every_reason_is_on_the_reference_page() -> None:
    page = tree.text("docs/reference/error-reasons.md")
    assert [reason for reason in sorted(_enum()) if f"`{reason}`" not in page] == []
