"""The two files under `rego/` that are made, not written: `python -m tests.scenes.policy.rego_contract`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from aisecops_server.domain.documents.input_document import InputDocument
from aisecops_server.domain.screening.screen_document import ScreenDocument
from pydantic import BaseModel

from tests.support import opa_binary

REGO = Path(__file__).parents[3] / "rego"
# Not marked as non-deterministic, and still not for policy: they print, or read the clock of the moment.
UNWANTED = {
    "print",
    "internal.print",
    "trace",
    "opa.runtime",
    "http.send",
    "net.lookup_ip_addr",
    "crypto.x509.parse_and_verify_certificates",
    "crypto.x509.parse_and_verify_certificates_with_options",
}


def run_opa(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([opa_binary(), *arguments], capture_output=True, text=True, check=False, timeout=110)


SCHEMAS: dict[str, type[BaseModel]] = {"input": InputDocument, "screen": ScreenDocument}


def schema(name: str = "input") -> str:
    return json.dumps(SCHEMAS[name].model_json_schema(), indent=2, sort_keys=True) + "\n"


def capabilities() -> str:
    current = json.loads(run_opa("capabilities", "--current").stdout)
    current["builtins"] = [
        builtin
        for builtin in current["builtins"]
        if not builtin.get("nondeterministic") and builtin["name"] not in UNWANTED
    ]
    current["allow_net"] = []
    return json.dumps(current, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name in SCHEMAS:
        (REGO / "schemas" / f"{name}.json").write_text(schema(name), encoding="utf-8")
    (REGO / "capabilities.json").write_text(capabilities(), encoding="utf-8")
