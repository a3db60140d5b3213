"""The shipped policy as far as Cerbos' policy language (CEL) can say it, made from our own tables and patterns.

cerbos_policy.yaml holds the expressions. Our tables become exported constants and our Rego's patterns are filled in,
so that both sides judge by the same facts. Two actions of one resource give the three outcomes: `execute_approved` is
refused by what denies, `execute` also by what demands an approval. It is written to Cerbos' advantage: facts are joined
once for both actions, and what is cheap comes first, because Cerbos stops at the first rule that refuses.

What is said: who may act and where, delegation, grants, tools and servers, budgets, approvals, amounts, the risk of
the chain, patterns in arguments, and of provenance trust, taint, what was asked for and where each value was seen.

What is not, because the language or the answer has no place for it:

- every finding with its facts, remedy and severity: Cerbos names the first rule that refused an action, ours all;
- outcomes, grants and obligations of single steps, the trust of each source and the risk score in the answer;
- strings deeper than one list or object inside an argument (there is no recursion), which scheme of a URL led to a
  host (one capture group to a pattern), commands put together from several arguments, and what else our rules do to
  see through disguises: their patterns are the same, what is matched with them is simpler;
- the join itself: the words of the request and the places where values were seen are no work of Cerbos. They stand in
  the document, which our control plane makes within its own time and Cerbos is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.tables.compiled_tables import compile_tables

RESOURCE = "plan"
ROLE = "agent"
OUTRIGHT, APPROVED = "execute", "execute_approved"
EXPRESSIONS = Path(__file__).with_suffix(".yaml")
PATTERN = re.compile(r"^(?:(\w+) := |\t)`([^`]+)`,?$", re.MULTILINE)
RULES = "rego/aisecops/rules/arguments"

UNKNOWN_TOOL = {
    "effect": "execute",
    "reach": "external",
    "result_trust": "unverified",
    "result_records": "none",
    **{name: {} for name in ("asked_by", "concerns", "arguments", "capabilities", "allowed_hosts", "allowed_in")},
    "approval": {"always": False, "amount_argument": "", "amount_over": 0},
    "uncatalogued": True,
}
UNKNOWN_SOURCE = {"rank": 3, "kind": "", "structure": "none", "pointed_at": False}
NOBODY = {
    "capabilities": {},
    "environments": {},
    "budget": {"session_calls": 0, "session_changes": 0, "items_per_step": 1},
    "max_delegation_depth": 0,
}
DISTINCTIVE = ("email", "url", "host", "iban")
GUESS = {
    **dict.fromkeys(DISTINCTIVE, "destination"),
    **dict.fromkeys(("path", "identifier", "word", "phrase"), "object"),
    "number": "setting",
    "text": "content",
}


def policies(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return Cerbos' policy files by name, for the ``files`` of our policy.

    Raises:
        KeyError: a pattern is no longer where it was in our Rego; correct its name in cerbos_policy.yaml.
    """
    tables: Any = compile_tables(
        {Path(path).stem: parse_yaml(path, content) for path, content in files.items() if path.startswith("data/")}
    )
    words: Any = parse_yaml(EXPRESSIONS.name, EXPRESSIONS.read_bytes())
    holes = {**_patterns(files), "sum_of_milli": _sum_of_milli(tables["risk"])}
    said = {
        part: {name: re.sub(r"<<(\w+)>>", lambda hole: holes[hole[1]], text) for name, text in texts.items()}
        for part, texts in words.items()
    }
    documents: dict[str, Any] = {
        "constants": {"exportConstants": {"name": "tables", "definitions": _constants(tables)}},
        "roles": {"derivedRoles": {"name": "agents", "constants": {"import": ["tables"]}, "definitions": [_member()]}},
        "plan": {"resourcePolicy": _resource(said)},
    }
    return {f"{name}.json": json.dumps({"apiVersion": "api.cerbos.dev/v1"} | body) for name, body in documents.items()}


def _constants(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: tables[name] for name in ("agents", "capabilities", "tools", "trust", "risk")},
        "words": {word: sorted(actions) for word, actions in tables["vocabulary"]["actions"].items()},
        "roles": tables["vocabulary"]["arguments"],
        "approvers_required": tables["approvals"]["other"]["approvers_required"],
        "ranks": {"": 0, "trusted": 0, "internal": 1, "external": 2, "unverified": 3},
        "grave": ["delete", "spend", "execute"],
        "distinctive": DISTINCTIVE,
        "guess": GUESS,
        "unknown_tool": UNKNOWN_TOOL,
        "unknown_source": UNKNOWN_SOURCE,
        "nobody": NOBODY,
    }


def _resource(said: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    covered = "V.valid && V.steps.all(j, size(j.grants) > 0)"
    allowed = {
        "name": "covered_by_grants",
        "actions": [OUTRIGHT, APPROVED],
        "derivedRoles": ["registered_agent"],
        "effect": "EFFECT_ALLOW",
        "condition": {"match": {"expr": covered}},
    }
    denials = [_refusal(name, expr, (OUTRIGHT, APPROVED)) for name, expr in said["denials"].items()]
    demands = [_refusal(name, f"!V.approved && ({expr})", (OUTRIGHT,)) for name, expr in said["demands"].items()]
    return {
        "resource": RESOURCE,
        "version": "default",
        "importDerivedRoles": ["agents"],
        "constants": {"import": ["tables"]},
        "variables": {"local": said["variables"]},
        "rules": [allowed, *denials, *demands],
    }


def _member() -> dict[str, Any]:
    condition = {"match": {"expr": "P.id in C.agents"}}
    return {"name": "registered_agent", "parentRoles": [ROLE], "condition": condition}


def _refusal(name: str, expression: str, actions: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name.replace(".", "_"),
        "actions": actions,
        "roles": [ROLE],
        "effect": "EFFECT_DENY",
        "condition": {"match": {"expr": expression}},
        "output": {"when": {"ruleActivated": json.dumps(name)}},
    }


def _patterns(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the patterns of our Rego as CEL strings: by rule, or by their own name where a rule has several."""
    found: dict[str, str] = {}
    for path, content in files.items():
        if path.startswith(RULES) and not path.endswith("_test.rego"):
            rule = Path(path).parent.name
            named = PATTERN.findall(content.decode())
            found |= {rule if name == "pattern" else name: json.dumps(pattern) for name, pattern in named if name}
            found[f"any_{rule}"] = _any_of(pattern for name, pattern in named if not name)
    return found


def _any_of(patterns: Iterable[str]) -> str:
    return " || ".join(f"t.value.matches({json.dumps(pattern)})" for pattern in patterns)


def _sum_of_milli(risk: Mapping[str, Any]) -> str:
    by_effect = [*risk["past_milli"].values(), *risk["call_milli"].values()]
    held = [amounts for by_reach in by_effect for amounts in by_reach.values()]
    amounts = {amount for entry in held for amount in (entry if isinstance(entry, list) else [entry])}
    return " + ".join(f"double(size(V.milli.filter(m, m == {one}))) * {one}.0" for one in sorted(amounts))
