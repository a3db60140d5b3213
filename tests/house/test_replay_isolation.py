"""Replay cannot act: what its use cases import and are handed is an allow-list, so that anything new is looked at."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing
from pathlib import Path

import pytest
from aisecops_server.ports import replay as replay_ports

from tests.house import tree

PACKAGE = f"{tree.SERVER}/usecases/replays/"
REPLAY = sorted(Path(path).stem for path in tree.under(PACKAGE, suffix=".py") if not path.endswith("__init__.py"))
# Of the world beyond replay's own ports: policy to read and build, an engine to ask, a clock.
PORTS = {"BundleBuilder", "Clock", "PolicyEngine", "PolicyRepository"}
LIBRARY = {
    "__future__",
    "asyncio",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "hashlib",
    "itertools",
    "re",
    "typing",
}
READING = {
    "History": {"head", "count", "places", "strata", "read", "of_trace", "decision"},
    "Engines": {"engine", "named", "acquire"},
    "Parts": {"at_once", "judge"},
    "PolicyReader": {"read"},
    "ReplayStore": {
        "digests",
        "conclusions",
        "remember",
        "part",
        "keep_part",
        "list_parts",
        "keep_draft",
        "draft",
        "results",
        "save",
        "load",
        "records",
    },
}


def _foreign(path: str) -> list[str]:
    allowed = ("aisecops_server.domain.", "aisecops_server.ports.replay", "aisecops_server.usecases.replays.")
    ports = {"aisecops_server.ports", *(f"aisecops_server.ports.{name}" for name in PORTS)}
    return sorted(
        name
        for name in tree.imported(path)
        if not name.startswith(allowed) and name not in ports and name.partition(".")[0] not in LIBRARY
    )


def test_replay_imports_nothing_that_could_act() -> None:
    found = {name: _foreign(f"{PACKAGE}{name}.py") for name in REPLAY}
    assert len(found) > 10
    assert {name: names for name, names in found.items() if names} == {}


def test_the_ports_of_replay_read_ask_and_keep_what_was_found_and_no_more() -> None:
    kinds = {
        name: {member for member in vars(kind) if not member.startswith("_")}
        for name, kind in vars(replay_ports).items()
        if inspect.isclass(kind) and kind.__module__ == replay_ports.__name__
    }
    assert kinds == READING


@pytest.mark.parametrize("name", REPLAY)
def test_what_replay_is_handed_is_on_the_list(name: str) -> None:
    module = importlib.import_module(f"aisecops_server.usecases.replays.{name}")
    handed = {
        f"{kind.__name__}.{parameter}: {annotation}"
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and kind.__name__[0] != "_"
        for parameter, annotation in _handed(kind)
        if getattr(annotation, "_is_protocol", False) and annotation.__name__ not in PORTS | READING.keys()
    }
    assert handed == set()


def _handed(kind: type) -> list[tuple[str, object]]:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return [(field.name, hints[field.name]) for field in dataclasses.fields(kind)]
    return list(typing.get_type_hints(kind.__init__).items())
