"""Whatever bytes a stranger writes, they are read or refused by name: no other error, no hang."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.fault.readers import READERS, Reader, spoiled
from tests.fault.rounds import rounds

pytestmark = pytest.mark.timeout(900)
BLIND, GUIDED = rounds(3_000, of_many=50_000), rounds(5_000, of_many=100_000)


@pytest.mark.parametrize("name", READERS)
def test_spoiled_examples_are_read_or_refused(name: str) -> None:
    reader = READERS[name]
    for data in spoiled(reader.examples, BLIND, random.Random(name)):
        reader.require_read_or_refused(data)


def test_each_reader_reads_some_of_what_is_spoiled_and_refuses_some() -> None:
    """Bytes that are all refused at the door would try nothing behind it."""
    never_refuse = {"json-scalars", "yaml-scalars", "python-scalars", "spiffe", "trace-parent"}
    never_read = {"evidence", "grant-token"}
    for name, reader in READERS.items():
        answers = {_is_read(reader, data) for data in spoiled(reader.examples, 500, random.Random(name))}
        assert True in answers or name in never_read, name
        assert False in answers or name in never_refuse, name


def _is_read(reader: Reader, data: bytes) -> bool:
    try:
        reader.read(data)
    except Exception:  # noqa: BLE001 - which ones may come is what the other test looks at
        return False
    return True


def all_read_or_refused(reader: Reader) -> None:
    for data in spoiled(reader.examples, 1_000, random.Random(1)):
        reader.require_read_or_refused(data)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda data: data.decode("ascii"), "ascii"),
        (lambda data: data.index(b"\n12"), "subsection"),
        (lambda data: int(data.split(b"\n", 3)[1]), "literal|out of range"),
    ],
)
def test_a_reader_that_lets_another_error_out_is_found(broken: Callable[[bytes], object], said: str) -> None:
    """The twin: a reader without the care of ours."""
    reader = Reader(broken, READERS["note"].examples)
    with pytest.raises((ValueError, IndexError), match=said):
        all_read_or_refused(reader)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
@pytest.mark.parametrize("name", READERS)
def test_what_reaches_new_code_is_read_or_refused(name: str) -> None:
    command = [sys.executable, "-m", "tests.fault.fuzzing", name, "--runs", str(GUIDED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
