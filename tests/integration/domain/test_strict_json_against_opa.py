"""Whatever our parser lets in, the engine's own parser reads as the same value."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.formats.strict_json import parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import opa_binary

MUTANTS = 20_000
PER_REQUEST = 500
SEEDS = [
    b'{"to":"ada@example.org","amount":12.50,"items":[1,2,{"k":null}],"ok":true}',
    b'{"a":1,"\\u0061b":"\\ud83d\\ude00\\n","c":[[],{}],"d":-0.0,"e":1e2,"f":9007199254740991}',
    b'[0,-0,1.0,1E+2,0.1e-7,"\\u0000","\\/",[[[[1]]]],{"":{"":""}}]',
    '{"naïve":"\u2028 café \U0001f600","ключ":["\x7f","\ufffd"]}'.encode(),
    b'{"x":{"y":{"z":[true,false,null,"null",1e-3]}},"dup":1,"dup2":2}',
]
ALPHABET = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"9", b"-", b".", b"e", b"E", b"+", b" ", b"\t"]
ALPHABET += [b"\\u", b"\\ud800", b"NaN", b"null", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3", b"\xa9", b"\x00", b"1e999"]
ALPHABET += [b'"a":1', b"9007199254740993", b"00", b"//", b"\n"]


class OverUnixSocket(http.client.HTTPConnection):
    """HTTP to the engine's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self.path))


class Echo:
    """One running engine whose only rule is its input."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, documents: Sequence[bytes]) -> list[JsonValue]:
        connection = OverUnixSocket(self.path)
        # Embedding is safe because each of them is one complete value, or our parser is wrong and this fails.
        connection.request("POST", "/v1/data/echo/read", b'{"input":[' + b",".join(documents) + b"]}")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == http.HTTPStatus.OK, body[:2000]
        values = json.loads(body)["result"]
        assert len(values) == len(documents)
        return list(values)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with tempfile.TemporaryDirectory() as directory:
        policy, path = Path(directory, "echo.rego"), Path(directory, "opa.sock")
        policy.write_text("package echo\n\nread := input\n")
        command = [opa_binary(), "run", "--server", "--disable-telemetry", "--addr", f"unix://{path}", policy]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for(path)
                yield Echo(path)
            finally:
                process.kill()


def wait_for(path: Path) -> None:
    pause = threading.Event()
    for _ in range(500):
        try:
            OverUnixSocket(path).connect()
        except OSError:
            pause.wait(0.02)
        else:
            return
    raise AssertionError("the engine did not start")


def accepted(documents: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the documents that we let in, each with the canonical form of what we read."""
    found = []
    for data in documents:
        try:
            found.append((data, canonical_bytes(parse(data, field="payload"))))
        except InvalidPlanError:
            continue
    return found


def assert_read_alike(echo: Echo, pairs: Sequence[tuple[bytes, bytes]]) -> None:
    for start in range(0, len(pairs), PER_REQUEST):
        part = pairs[start : start + PER_REQUEST]
        values = echo.read([data for data, _ in part])
        again = echo.read([ours for _, ours in part])
        for (data, ours), theirs, canonical in zip(part, values, again, strict=True):
            assert canonical_bytes(theirs) == ours, data
            assert canonical_bytes(canonical) == ours, data


def mutated(random_source: random.Random) -> bytes:
    data = bytearray(random_source.choice(SEEDS))
    for _ in range(random_source.randint(1, 3)):
        at = random_source.randrange(len(data) + 1)
        match random_source.randrange(4):
            case 0:
                data[at:at] = random_source.choice(ALPHABET)
            case 1:
                del data[at : at + random_source.randint(1, 3)]
            case 2:
                data[at : at + 1] = random_source.choice(ALPHABET)
            case _:
                other = random_source.choice(SEEDS)
                cut = random_source.randrange(len(other))
                data[at:at] = other[cut : cut + random_source.randint(1, 12)]
    return bytes(data)


def test_mutated_documents_are_refused_or_read_alike(echo: Echo) -> None:
    random_source = random.Random(20260731)
    pairs = accepted([mutated(random_source) for _ in range(MUTANTS)])
    assert MUTANTS // 20 < len(pairs) < MUTANTS // 2
    assert_read_alike(echo, pairs)


TEXTS = st.text(max_size=6)
NUMBERS = st.integers(-(2**60), 2**60) | st.floats() | st.decimals(allow_nan=False, allow_infinity=False).map(float)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=20, max_size=40))
def test_generated_documents_are_refused_or_read_alike(echo: Echo, values: list[object]) -> None:
    documents = [
        json.dumps(value, ensure_ascii=at % 2 == 0).encode("utf-8", "surrogatepass") for at, value in enumerate(values)
    ]
    assert_read_alike(echo, accepted(documents))


def test_the_engine_alone_would_read_what_we_refuse(echo: Echo) -> None:
    """The engine keeps the last of two equal keys: the differential test would miss nothing by our being strict."""
    assert echo.read([b'{"a":1,"a":2}']) == [{"a": 2}]
    assert accepted([b'{"a":1,"a":2}']) == []
