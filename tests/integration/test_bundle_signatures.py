"""Signatures of bundles are those that OPA would make, of whatever tables say."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.adapters.bundles.signatures import signatures
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes

from tests.support import opa_binary

TABLES: dict[str, JsonValue] = {
    "plain": {"a": 1, "b": [True, False, None, "x"], "": {}, "c": []},
    "numbers": {
        "whole": 2**53 - 1,
        "less": -7,
        "float": 0.1,
        "large": 1e21,
        "small": 1e-7,
        "whole float": 5e3,
        "zero": 0.0,
    },
    "text": {"controls": "\x00\x01\x08\t\n\x0b\x0c\r\x1f\x7f", "quotes": '"\\/<>&', "umlaut": "Größe", "emoji": "🙂"},
    "separators": {"lines\u2028and\u2029paragraphs": "a\u2028b\u2029c"},
    # UTF-16 sorts the second before the first, code points the first before the second.
    "order": {"\uffee": 1, "\U0001f600": 2, "é": 3, "z": 4},
}


def claims(token: bytes) -> tuple[JsonValue, dict[str, Any]]:
    head, payload, _ = json.loads(token)["signatures"][0].split(".")
    return json.loads(base64.urlsafe_b64decode(head + "==")), json.loads(base64.urlsafe_b64decode(payload + "=="))


@pytest.mark.parametrize("named", [*([name] for name in TABLES), list(TABLES), []])
def test_every_digest_and_claim_is_that_of_opa(tmp_path: Path, named: list[str]) -> None:
    key = open_key(tmp_path / "keys", "bundle")
    files = {
        ".manifest": canonical_bytes({"revision": "größe 🙂", "roots": ["aisecops", "tables"], "rego_version": 1}),
        "data.json": canonical_bytes({"tables": {name: TABLES[name] for name in named}}),
        "aisecops/x/x.rego": "package aisecops.x\n\n# ünï \u2028 🙂\n".encode(),
    }
    tree, out = tmp_path / "tree", tmp_path / "out"
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    (tmp_path / "claims.json").write_text('{"keyid": "aisecops"}')
    out.mkdir()
    sign = ["sign", "--bundle", ".", "--signing-alg", "EdDSA", "--signing-key", tmp_path / "keys" / "bundle.pem"]
    subprocess.run(
        [opa_binary(), *sign, "--claims-file", tmp_path / "claims.json", "--output-file-path", out],
        cwd=tree,
        check=True,
        capture_output=True,
    )
    theirs, ours = claims((out / ".signatures.json").read_bytes()), claims(signatures(files, key))
    assert ours[0] == theirs[0]
    assert ours[1].keys() == theirs[1].keys()
    assert {file["name"]: file for file in ours[1]["files"]} == {file["name"]: file for file in theirs[1]["files"]}
