"""An OpenID provider of somebody else's, as a program of its own, and a person without a browser who uses its pages."""

from __future__ import annotations

import functools
import html
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.settings import Settings

from tests.scenes.mcp.mcp_packages import OPENID, NotInstalledError, install_locked

CLIENT = "aisecops-ui"
REDIRECT = "http://127.0.0.1/sign-in/callback"
NOA, OMAR, NOBODY = "noa.berg@corp.example", "omar@corp.example", "nobody@corp.example"
_SECONDS = 60
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
_ACTION = re.compile(r'<form [^>]*action="([^"]+)"')
_LEADS_ON = re.compile(r'<meta http-equiv="refresh" content="0; url=([^"]+)">')


@functools.cache
def _node() -> Path:
    try:
        return install_locked(OPENID)
    except NotInstalledError as error:
        pytest.skip(reason=f"an OpenID provider from npm is not tested: {error}")


@contextmanager
def openid_provider(*, secret: str = "", host: str = "127.0.0.1") -> Iterator[str]:
    """Run the provider while the block runs; gives its issuer. Without a secret, the UI is a public client of it."""
    asked = {"client": CLIENT, "redirect": REDIRECT, "secret": secret, "host": host}
    command = [str(_node()), str(OPENID / "provider.mjs"), json.dumps(asked)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield str(json.loads(process.stdout.readline())["issuer"])
        finally:
            process.kill()


def with_provider(at: str, **changes: object) -> dict[str, object]:
    """Return the settings of a control plane whose people sign in with the provider at ``at``."""
    return {"token_keys": f"{at}/jwks", "token_issuer": at, "oidc_client_id": CLIENT, **changes}


def with_agents(at: str, settings: Settings) -> Settings:
    """Return settings with which people come by the provider at ``at``, and agents by tokens made here."""
    changed = settings.model_copy(update=with_provider(at, token_keys=str(settings.state_dir / "keys" / KEY_SET_FILE)))
    issuer(changed)
    keys = Path(changed.token_keys)
    both = [*json.loads(keys.read_bytes())["keys"], *json.loads(get(f"{at}/jwks"))["keys"]]
    keys.write_text(json.dumps({"keys": both}))
    return changed


def get(url: str) -> str:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=_SECONDS)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@dataclass(frozen=True)
class Seen:
    """What a person without a browser got from an address."""

    url: str
    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def leads_to(self) -> str:
        """Return where the page leads by itself, or a redirect to."""
        found = _LEADS_ON.search(self.text)
        return urljoin(self.url, html.unescape(found[1]) if found else self.headers.get("location", ""))

    @property
    def parameters(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.leads_to).query).items()}


@dataclass
class Person:
    """Somebody with cookies for each host and port, and no scripts. ``asked`` is every address that was asked."""

    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def ask(self, method: str, url: str, form: Mapping[str, str] | None = None, **headers: str) -> Seen:
        parts = urlsplit(url)
        own = self.cookies.setdefault(parts.netloc, {})
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in own.items()), **headers}
        sent |= {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
        connection = HTTPConnection(parts.netloc, timeout=_SECONDS)
        try:
            path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
            connection.request(method, path, urlencode(form) if form is not None else None, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for given in answer.headers.get_all("set-cookie") or ():
            name, _, value = given.partition(";")[0].partition("=")
            own.pop(name, None)
            if value.strip('"') and "Max-Age=0" not in given:
                own[name] = value
        self.asked.append(url)
        return Seen(url, answer.status, text, {name.lower(): value for name, value in answer.getheaders()})

    def begin(self, origin: str, to: str = "/", **more: str) -> Seen:
        """Ask the UI to be sent to the provider."""
        return self.ask("POST", f"{origin}/sign-in/provider", {"next": to, **more})

    def at_provider(self, address: str, who: str = NOA, *, until: str = "/sign-in/callback") -> Seen:
        """Go through the provider's pages as ``who``; return the redirect that leads to where it sends people back."""
        seen = self.ask("GET", address)
        for _ in range(12):
            if 300 <= seen.status < 400:
                if urlsplit(seen.leads_to).path == until:
                    return seen
                seen = self.ask("GET", seen.leads_to)
                continue
            form = {name: html.unescape(value) for name, value in _HIDDEN.findall(seen.text)}
            if form.get("prompt") == "login":
                form |= {"login": who, "password": "any"}
            assert seen.status == 200, f"{seen.url}: {seen.status} {seen.text[:500]}"
            seen = self.ask("POST", urljoin(seen.url, html.unescape(_ACTION.search(seen.text)[1])), form)
        raise AssertionError(f"the provider did not send back: {self.asked}")
