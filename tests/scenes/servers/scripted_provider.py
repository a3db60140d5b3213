"""An OpenID provider that does what a test says: honest until it is told to answer something else."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from aisecops_server.adapters.system import SystemClock

from tests.scenes.servers.identity_provider import Provider
from tests.scenes.servers.openid_provider import CLIENT

Answer = tuple[int, bytes]


@dataclass
class Scripted:
    """Signs people in without asking them. ``others`` replaces what a path answers, ``claims`` what a token says."""

    issuer: str = ""
    nonce: str = ""
    others: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    claims: dict[str, object] = field(default_factory=dict)
    document: dict[str, object] = field(default_factory=dict)
    token: Callable[[str], str] = str
    posted: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    signer: Provider = field(default_factory=lambda: Provider(SystemClock()))

    def answer(self, path: str, headers: dict[str, str], form: str) -> Answer:
        if form:
            self.posted.append((path, headers, {name: values[0] for name, values in parse_qs(form).items()}))
        if path in self.others:
            return self.others[path]()
        return {
            "/.well-known/openid-configuration": self._document,
            "/jwks": lambda: (200, self.signer.published),
            "/token": lambda: (200, json.dumps({"token_type": "Bearer", "id_token": self.id_token()}).encode()),
        }.get(path, lambda: (404, b""))()

    def id_token(self) -> str:
        now = self.signer.clock.now_ns() // 1_000_000_000
        claims = {"aud": CLIENT, "iss": self.issuer, "iat": now, "nonce": self.nonce, **self.claims}
        return self.token(self.signer.token("one", **claims))

    def honest(self) -> None:
        """Forget what a test said."""
        self.others, self.claims, self.document, self.token = {}, {}, {}, str

    def _document(self) -> Answer:
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            **self.document,
        }
        return 200, json.dumps(said).encode()


@contextlib.contextmanager
def scripted_provider() -> Iterator[Scripted]:
    """Serve one while the block runs."""
    provider = Scripted()
    provider.signer.publish("one")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["content-length"])).decode())

        def _answer(self, form: str) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = provider.answer(self.path.partition("?")[0], headers, form)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", body.decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        provider.issuer = f"http://127.0.0.1:{server.server_port}"
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join(10)
