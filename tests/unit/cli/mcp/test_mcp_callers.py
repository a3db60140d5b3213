"""Who is let in to the proxy over HTTP, once their token proves who they are."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from aisecops_client.completions import CompletionsByAgent
from aisecops_client.spool import Spool
from aisecops_mcp.callers import NotLetInError
from aisecops_server.cli.mcp.mcp_callers import ByToken
from aisecops_server.domain.callers.identity import Presented, Principal, PrincipalId, Role

AGENT = "spiffe://corp.example/agent/support-assistant"


@dataclass(frozen=True)
class Proves:
    """An authenticator for which every token is the same principal's."""

    principal: Principal

    def authenticate(self, presented: Presented) -> Principal:
        assert presented.token == "a-token"
        return self.principal


def no_spool(agent: str) -> Spool:
    raise AssertionError(f"{agent} calls nothing here")


def caller(*, tenants: frozenset[str], roles: frozenset[Role], of: str) -> ByToken:
    own = Proves(Principal(PrincipalId(AGENT), "token", roles, tenants=tenants))
    return ByToken("production", own, None, CompletionsByAgent(no_spool), tenant=of)


@pytest.mark.parametrize(
    ("of", "tenants"), [("", frozenset[str]()), ("blue", frozenset({"blue"}))], ids=["no tenants", "its own tenant"]
)
def test_an_agent_comes_in_where_it_belongs(of: str, tenants: frozenset[str]) -> None:
    entered = caller(tenants=tenants, roles=frozenset({Role.AGENT}), of=of).enter(["Bearer a-token"])
    assert (entered.agent, entered.credential) == (AGENT, "")


@pytest.mark.parametrize(
    ("of", "tenants", "roles"),
    [
        ("blue", frozenset({"red"}), frozenset({Role.AGENT})),
        ("blue", frozenset[str](), frozenset({Role.AGENT})),
        ("", frozenset[str](), frozenset({Role.AUDITOR})),
    ],
    ids=["another tenant", "no tenant", "no agent"],
)
def test_who_is_somebody_elsewhere_is_nobody_here(of: str, tenants: frozenset[str], roles: frozenset[Role]) -> None:
    with pytest.raises(NotLetInError) as refused:
        caller(tenants=tenants, roles=roles, of=of).enter(["Bearer a-token"])
    assert (refused.value.forbidden, refused.value.error) == (True, "insufficient_scope")
