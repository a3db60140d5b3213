"""The page of roles: the table that lets calls through, as it stands in the code."""

from __future__ import annotations

from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL, ROLES_OF_FOREIGN_CALL

from docs.generate import api
from docs.generate.markdown import code, table

INTRODUCTION = """# Roles

Which call needs which role: one of those that are marked. The same table lets calls through, so it cannot say anything
else; a call that it does not list is refused to everybody. What a role is for stands in the
[glossary](../glossary.md#who-and-what), and how somebody gets one in
[Authenticate agents and people](../how-to/authenticate-agents-and-people.md).

A credential without any role is known and may do nothing. Health checks need no credential; reflection is answered on
the Unix socket and on loopback addresses without TLS.

"""
_MARK = "✓"


def page() -> str:
    """Return the page."""
    rows = [
        [code(name), *(_MARK if role in ROLES_OF_CALL[call] else "" for role in Role)]
        for name, call in _calls().items()
    ]
    rows += [
        [code(call.removeprefix("/")), *(_MARK if role in roles else "" for role in Role)]
        for call, roles in ROLES_OF_FOREIGN_CALL.items()
    ]
    return INTRODUCTION + table(["call", *(code(role) for role in Role)], rows)


def _calls() -> dict[str, str]:
    """Return every call of the API, by its name and in the order of the services."""
    return {
        f"{service.name}/{method.name}": f"/{file.package}.{service.name}/{method.name}"
        for file in api.descriptors()
        for service in file.service
        for method in service.method
    }
