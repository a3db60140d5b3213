"""Reads what the rules of a policy say of themselves, with the tests beside them and the pages that people wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from aisecops_server.adapters.bundles.checks.workshop import Workshops
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.policy.rule_catalogue import Firings, RuleEntry
from aisecops_server.domain.policy.rule_text import names_of_tests
from aisecops_server.ports.checking import CheckedPolicy

_DEPTH = 5  # data.aisecops.rules.<category>.<rule>


class ReadRules:
    """Reads the rules of a tree."""

    def __init__(self, opa: OpaCli, workshops: Workshops) -> None:
        self._opa = opa
        self._workshops = workshops

    async def __call__(
        self, policy: CheckedPolicy, *, pages: Mapping[str, str], firings: Firings | None = None
    ) -> list[RuleEntry]:
        """Return the rules, sorted; ``pages`` are what people wrote beside them, by path.

        Raises:
            BundleRejectedError: a file cannot be read.
            EngineUnavailableError: there is no engine.
        """
        workshop = await self._workshops.of(policy)
        code, output, errors = await self._opa.run("inspect", "-a", "-f", "json", "rego", cwd=workshop.root)
        if code != 0:
            told = (errors or output).decode("utf-8", "replace").strip()[:300]
            raise BundleRejectedError(f"the rules cannot be read: {told}", hint="'aisecops policy compile' says where")
        listed: list[Mapping[str, Any]] = orjson.loads(output).get("annotations") or []
        found = [_entry(each, policy, pages, firings) for each in listed if _is_rule(each)]
        return sorted(found, key=lambda entry: entry.rule)


def _is_rule(item: Mapping[str, Any]) -> bool:
    path = [str(part.get("value")) for part in item.get("path") or []]
    scope = (item.get("annotations") or {}).get("scope")
    return (
        scope == "package" and path[1:3] == ["aisecops", "rules"] and len(path) == _DEPTH and path[-1][-5:] != "_test"
    )


def _entry(
    item: Mapping[str, Any], policy: CheckedPolicy, pages: Mapping[str, str], firings: Firings | None
) -> RuleEntry:
    about, custom = item["annotations"], item["annotations"].get("custom") or {}
    rule = ".".join(str(part["value"]) for part in item["path"][3:])
    file = str(item["location"]["file"]).lstrip("/")
    file = file if file.startswith("rego/") else f"rego/{file}"
    folder = file.rpartition("/")[0]
    test = policy.tree.files.get(f"{file.removesuffix('.rego')}_test.rego", b"").decode("utf-8", "replace")
    return RuleEntry(
        rule=rule,
        title=str(about.get("title", "")),
        description=" ".join(str(about.get("description", "")).split()),
        effect=str(custom.get("effect", "")),
        severity=str(custom.get("severity", "")),
        owner=str(custom.get("owner", "")),
        remedy=" ".join(str(custom.get("remedy", "")).split()),
        mappings=tuple(map(str, custom.get("mappings") or ())),
        file=file,
        line=int(item["location"].get("row", 0)),
        tests=tuple(dict.fromkeys(names_of_tests(test))),
        page=pages.get(f"{folder}/README.md", ""),
        fired=None if firings is None else firings.counts.get(rule, 0),
        example="" if firings is None else firings.examples.get(rule, ""),
    )
