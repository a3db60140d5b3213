"""From the grants that people write to what rules look up: by tool, which places of a call must hold what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.grant_tables import GrantEntry, ScopeEntry

# By tool of the capability: the role of each argument that the catalogue describes.
Described = Mapping[str, Mapping[str, str]]
_SAID_CHARACTERS = 200


def narrowed_grant(grant_id: str, grant: GrantEntry, described: Described) -> dict[str, JsonValue]:
    """Return a grant that something narrows, with its id. ``described`` are the tools of its capability.

    Raises:
        ValueError: a scope is about nothing that any of the tools has.
    """
    compiled: dict[str, JsonValue] = {"id": grant_id, "granted_by": grant.granted_by}
    if grant.expires_at_seconds is not None:
        compiled["expires_at_seconds"] = grant.expires_at_seconds
    if grant.environments is not None:
        compiled["environments"] = dict.fromkeys(grant.environments, True)
    if grant.is_scoped:
        compiled["scopes"] = _scopes(grant, described)
    return compiled


def _scopes(grant: GrantEntry, described: Described) -> dict[str, JsonValue]:
    unknown = sorted(set(grant.unscoped).difference(described))
    if unknown:
        raise ValueError(f"unscoped names {unknown[0]}, which the capability does not list")
    checks: dict[str, list[JsonValue]] = {tool: [] for tool in grant.unscoped}
    for name, scope in grant.scopes.items():
        place = _place(name)
        _add(checks, scope, {tool: [place] for tool, roles in described.items() if place[0] in roles}, name)
    for role, scope in grant.role_scopes.items():
        places = {
            tool: [[argument] for argument, own in roles.items() if own == role] for tool, roles in described.items()
        }
        _add(checks, scope, {tool: found for tool, found in places.items() if found}, f"the role {role}")
    twice = sorted(tool for tool in grant.unscoped if checks[tool])
    if twice:
        raise ValueError(f"{twice[0]} is unscoped and has arguments that are scoped")
    return dict(checks)


def _add(
    checks: dict[str, list[JsonValue]], scope: ScopeEntry, places: Mapping[str, Sequence[Sequence[str]]], name: str
) -> None:
    if not places:
        raise ValueError(f"no tool of the capability has {name}")
    for tool, found in places.items():
        checks.setdefault(tool, []).append(
            {
                "places": [list(place) for place in found],
                "required": not scope.optional,
                "says": _said(scope),
                "is": _is(scope),
            }
        )


def _place(name: str) -> list[str]:
    if not name.startswith("/"):
        return [name]
    return [token.replace("~1", "/").replace("~0", "~") for token in name[1:].split("/")]


def _is(scope: ScopeEntry) -> dict[str, JsonValue]:
    if scope.at_most is not None:
        return {"at_least": scope.at_least or 0, "at_most": scope.at_most}
    return {
        "paths": _keys(scope.paths),
        "hosts": _keys(domain for domain in scope.domains if not domain.startswith("*.")),
        "under": _keys(domain[len("*.") :] for domain in scope.domains if domain.startswith("*.")),
        "recipients": _keys(scope.recipients),
        "texts": _keys(value for value in scope.values if isinstance(value, str)),
        "others": [value for value in scope.values if not isinstance(value, str)],
    }


def _said(scope: ScopeEntry) -> str:
    if scope.at_most is not None:
        return f"{scope.at_least or 0} to {scope.at_most}"
    listed = [*scope.paths, *scope.domains, *scope.recipients, *map(str, scope.values)]
    said = ", ".join(listed)
    return said if len(said) <= _SAID_CHARACTERS else f"{said[:_SAID_CHARACTERS]} …"


def _keys(names: Iterable[str]) -> dict[str, JsonValue]:
    return dict.fromkeys(names, True)
