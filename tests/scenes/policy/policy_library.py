"""A small policy library and builders over it, for tests that need real bundles but not the real policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aisecops_server.adapters.bundles.builder import OpaBundleBuilder
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.domain.formats.canonical import JsonValue

from tests.scenes.policy.git_remotes import OWNED
from tests.support import opa_binary

REPOSITORY = Path(__file__).parents[3]

# Denies whoever the tables do not know, and grants what they list.
DECISION = b"""package aisecops.decision

decision := {
	"outcome": outcome,
	"findings": findings,
	"steps": [{"id": step.id, "outcome": outcome, "capability": "", "granted_by": "", "grant": ""} |
		some step in input.plan.steps
	],
	"obligations": [],
	"sources": [],
	"risk_score_milli": 0,
	"charges": [],
	"mode": "enforce",
	"would_outcome": outcome,
	"approval": null,
	"approved_by": "",
}

known if data.tables.agents[input.principal.id]

outcome := "ALLOW" if known

outcome := "DENY" if not known

findings := [] if known

findings := data.aisecops.rules.identity.unknown_agent.findings if not known
"""
RULE = b"""# METADATA
# title: Unknown agent
# description: Nobody registered this agent.
# scope: package
# custom:
#   effect: deny
#   severity: high
#   owner: platform
package aisecops.rules.identity.unknown_agent

findings := [{
	"rule": "identity.unknown_agent",
	"title": "Unknown agent",
	"message": "nobody registered this agent",
	"effect": "deny",
	"would_effect": "deny",
	"severity": "high",
	"step": "",
	"facts": [],
	"remedy": "",
}]
"""
RULE_PATH = "rego/aisecops/rules/identity/unknown_agent/unknown_agent.rego"
POLICY = {
    "bundle.yaml": OWNED,
    "data/agents.yaml": b"support: {owner: team}\n",
    "data/tools.yaml": b"mail/send: {effect: send}\ncrm/read: {effect: read}\n",
    "rego/aisecops/decision/decision.rego": DECISION,
    RULE_PATH: RULE,
    "rego/aisecops/decision/decision_test.rego": b"package aisecops.decision_test\n\ntest_nothing if true\n",
    "rego/system/authz.rego": b"package system.authz\n\nallow := true\n",
    "cases/one.yaml": b"a: 1\n",
}


def as_they_are(files: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Stand in for the compilation of tables where the tables are not what is tested."""
    return files


def library(directory: Path) -> Path:
    """Copy what every bundle gets from the product, without the schemas."""
    for name in ("system/authz.rego", "aisecops/batch/batch.rego", "capabilities.json"):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((REPOSITORY / "rego" / name).read_bytes())
    (directory / "schemas").mkdir(exist_ok=True)
    return directory


def builder(
    state: Path, *, library_directory: Path | None = None, compile_tables=as_they_are, binary=opa_binary
) -> OpaBundleBuilder:
    return OpaBundleBuilder(
        directory=state / "bundles",
        library=library_directory or library(state / "library"),
        signer=open_key(state / "keys", "bundle"),
        binary=binary,
        compile_tables=compile_tables,
    )
