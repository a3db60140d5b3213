"""Fetching published keys from real servers, good and hostile ones."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from aisecops_server.adapters.identity.key_fetch import KeyAddress, fetch_keys
from aisecops_server.adapters.identity.key_set import MOST_BYTES
from aisecops_server.adapters.system import SystemClock
from aisecops_server.domain.errors import InvalidRequestError
from cryptography import x509

from tests.scenes.servers.certificates import SERVER, certificate
from tests.scenes.servers.http_server import Talk, answer, server

KEYS = b'{"keys": []}'


def test_what_is_published_is_fetched() -> None:
    asked = []

    def talk(connection: socket.socket) -> None:
        asked.append(True)
        connection.sendall(answer(KEYS))

    with server(talk) as port:
        assert fetch_keys(KeyAddress(f"http://127.0.0.1:{port}/keys?v=1")) == KEYS
    assert asked == [True]


HOSTILE: dict[str, bytes] = {
    "a redirect elsewhere": answer(b"", status="302 Found", headers="Location: http://192.0.2.1/keys\r\n"),
    "an error": answer(KEYS, status="500 Oops"),
    "nothing": b"",
    "no HTTP": b"letmein\r\n\r\n",
    "too much": answer(b"x" * (MOST_BYTES + 1)),
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_answer_that_is_none_is_an_error(kind: str) -> None:
    with server(lambda connection: connection.sendall(HOSTILE[kind])) as port, pytest.raises((OSError, ValueError)):
        fetch_keys(KeyAddress(f"http://127.0.0.1:{port}/"))


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def dripping(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    end = threading.Event()
    while not end.wait(0.05):
        connection.sendall(b"a: b\r\n")


@pytest.mark.parametrize("talk", [silent, dripping])
def test_a_server_that_never_ends_is_left_in_time(talk: Talk) -> None:
    with server(talk) as port:
        began = time.monotonic()
        with pytest.raises((OSError, ValueError)):
            fetch_keys(KeyAddress(f"http://127.0.0.1:{port}/"), seconds=0.5)
        # Generous, because the machine may be busy; a server that is never left would take for ever.
        assert time.monotonic() - began < 30


def test_only_a_server_that_the_authority_vouches_for_is_believed(tmp_path: Path) -> None:
    now = SystemClock().now_ns() / 1e9
    good = certificate(authority=True, common="good", now=now)
    other = certificate(authority=True, common="other", now=now)
    for name, authority in (("good", good), ("other", other)):
        (tmp_path / f"{name}.pem").write_bytes(authority.pem)
    host = certificate(x509.DNSName("localhost"), of=good, usage=(SERVER,), now=now)
    host.write(tmp_path / "host.pem", tmp_path / "host.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "host.pem", tmp_path / "host.key")
    with server(lambda connection: connection.sendall(answer(KEYS)), context) as port:
        assert fetch_keys(KeyAddress(f"https://localhost:{port}/", tmp_path / "good.pem")) == KEYS
        for url, ca in (
            (f"https://localhost:{port}/", tmp_path / "other.pem"),
            (f"https://localhost:{port}/", None),
            (f"https://127.0.0.1:{port}/", tmp_path / "good.pem"),
        ):
            with pytest.raises(OSError):
                fetch_keys(KeyAddress(url, ca))


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example/keys",
        "http://192.0.2.1/keys",
        "http://localhost/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@login.example/keys",
        "https://login.example:99999/keys",
        "http://127.0.0.1.evil.example/keys",
    ],
)
def test_keys_come_from_an_https_address_or_this_machine(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="keys may not come from"):
        KeyAddress(url).parts()
