"""A house of two tenants with a policy repository each: the shop's lets its agent work, the bank's does not know it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aisecops_client import AsyncClient, PlanBuilder
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.databases import LetIn, prepare_databases
from aisecops_server.bootstrap.serving import serving_tenants
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.server import RunningServer
from aisecops_server.settings import Settings

from tests.scenes.policy.git_remotes import Remote
from tests.scenes.servers.postgres_servers import PostgresServer
from tests.support import opa_binary

AGENT = "spiffe://corp.example/agent/support-assistant"
SHOP, BANK = "shop", "bank"
AGENTS = "data/agents.yaml"
# What stands in the repository of each alone.
MODES = "# only of the {}\ndefault: enforce\nagents: {{}}\nrules: {{}}\n"


@dataclass
class House:
    """Where two tenants live, and once it runs, what serves them."""

    root: Path
    settings: Settings
    remotes: Mapping[str, Remote]
    planes: Mapping[str, ControlPlane] = field(default_factory=dict)
    server: RunningServer | None = None

    def token(self, *roles: Role, subject: str = AGENT, tenants: tuple[str, ...]) -> str:
        return issuer(self.settings).mint(subject, roles or (Role.AGENT,), tenants=tenants)

    def client(self, *roles: Role, subject: str = AGENT, of: str | tuple[str, ...], tenant: str = "") -> AsyncClient:
        """Return a client with a credential of one tenant or several, that may name one."""
        token = self.token(*roles, subject=subject, tenants=(of,) if isinstance(of, str) else of)
        client = AsyncClient.connect(f"unix:{self.settings.socket}", token, tenant=tenant)
        client.timeout_seconds = 60.0
        return client

    def live(self, tenant: str) -> str:
        return self.planes[tenant].live.current().bundle.revision


def refund(asked: str = "Refund order o-77 of customer c-12 with 50 EUR") -> PlanBuilder:
    """Return a plan that the shop allows its agent."""
    builder = PlanBuilder(intent=asked, environment="production")
    arguments = {"order_id": "o-77", "customer_id": "c-12", "amount": 50, "reason": "late"}
    builder.step("crm/issue_refund", arguments, influenced_by=[builder.source("user_prompt", asked)])
    return builder


def house_in(root: Path, *, entries: Mapping[str, str] | None = None, **settings: object) -> House:
    """Return a house below ``root``. The bank's policy does not know the agent that the shop's does.

    ``entries`` say more of tenants in their file.
    """
    remotes = {name: Remote(root / "policies" / name) for name in (SHOP, BANK)}
    for name, remote in remotes.items():
        create_policy_repository(remote.path, at_seconds=1_790_000_000)
        remote.commit({"data/modes.yaml": MODES.format(name).encode()}, f"Of the {name}")
    agents = (remotes[BANK].path / AGENTS).read_bytes().replace(AGENT.encode(), b"spiffe://corp.example/agent/teller")
    remotes[BANK].commit({AGENTS: agents}, "The bank knows its teller only")
    file = root / "tenants.yaml"
    more = {name: f", {text}" for name, text in (entries or {}).items()}
    file.write_text(
        "".join(f"{name}: {{repository: {remote.path}{more.get(name, '')}}}\n" for name, remote in remotes.items())
    )
    made = Settings.model_validate(
        {
            "state_dir": root / "s",
            "engine_path": opa_binary(),
            "tenants_file": file,
            "deadline_milliseconds": 10_000,
            "poll_seconds": 3600,
            "drift_watch": False,
            **settings,
        }
    )
    return House(root, made, remotes)


def house_on(postgres: PostgresServer, root: Path) -> House:
    """Return a house whose tenants' logs are in one new database."""
    name = postgres.empty_database()
    house = house_in(root, database_url=postgres.address(name))
    prepare_databases(house.settings, postgres.url(name, "administrator"), LetIn())
    return house


@asynccontextmanager
async def open_house(house: House) -> AsyncIterator[House]:
    """Serve its tenants while the block runs."""
    async with serving_tenants(house.settings) as (planes, server):
        house.planes, house.server = planes, server
        yield house
