"""Whose a credential is, as far as it says so itself."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from aisecops_server.adapters.identity.named import named_in_certificate, named_in_token

from tests.scenes.servers.certificates import certificate, uri

AGENT = "spiffe://corp.example/agent/desk"


def test_a_token_names_its_subject(tmp_path: Path) -> None:
    path = tmp_path / "agent.token"
    path.write_text(jwt.encode({"sub": AGENT}, "k" * 32) + "\n", encoding="ascii")
    assert named_in_token(path) == AGENT


def test_a_certificate_names_its_one_uri(tmp_path: Path) -> None:
    path = tmp_path / "agent.pem"
    certificate(uri(AGENT), now=1_790_000_000).write(path, tmp_path / "agent.key")
    assert named_in_certificate(path) == AGENT


@pytest.mark.parametrize("content", ["", "opaque", "a.b.c", "é"])
def test_what_cannot_be_read_is_known_by_its_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "credential"
    path.write_text(content, encoding="utf-8")
    missing = tmp_path / "missing"
    assert (named_in_token(path), named_in_certificate(path)) == (str(path), str(path))
    assert (named_in_token(missing), named_in_certificate(missing)) == (str(missing), str(missing))
