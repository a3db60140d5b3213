"""Where the demo plays: a policy repository, a state directory, and a real control plane that serves them.

Everything is as in production: stock OPA as a child process, gRPC over a Unix socket with tokens and over mutual TLS
with certificates, the SQLite log.
Only the place differs: one directory that can be kept and served again.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aisecops_client.aio import AsyncClient
from aisecops_client.transport import tls

from aisecops_server.adapters.git.create import commit_files, create_policy_repository
from aisecops_server.adapters.git.mirror import GitRepository
from aisecops_server.adapters.identity.local_authority import CERTIFICATE_FILE
from aisecops_server.adapters.identity.trial_folder import Wish, make_trial
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.serving import is_served as answers_at
from aisecops_server.bootstrap.serving import serving
from aisecops_server.bootstrap.web import link, web
from aisecops_server.demo.change import MESSAGE, TABLE, edited
from aisecops_server.demo.scenario import Scenario
from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Role
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.log.record import LogReport
from aisecops_server.entrypoints.grpc.server import RunningServer
from aisecops_server.settings import Settings
from aisecops_server.usecases.replays.compare_policies import ComparePolicies

OPERATOR = "demo-operator@localhost"
OPERATIONS_AGENT = "spiffe://corp.example/agent/operations-assistant"
# Of the group that policy wants for releases, and not of the team that owns the agent.
APPROVER = "finn.olsen@corp.example"
BUDGETS = "data/budgets.yaml"
CAPPED_TOOL = "logs/search"
CAPPED_CALLS = 3
MARK = "aisecops-demo.yaml"
# The demo itself says when the repository is read, so that what is shown is what happens.
_POLL_SECONDS = 3600.0
_TOKEN_SECONDS = 900
# As long as a link of 'aisecops ui link' signs in for.
_LOOKING_SECONDS = 8 * 3600
# A demo is also played on machines that are busy with something else.
_PATIENCE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """The directory of one demo and what lies in it; ``is_kept`` when it is there after the end."""

    root: Path
    is_kept: bool = True

    @property
    def policy(self) -> Path:
        """Return the policy repository."""
        return self.root / "policy"

    @property
    def state(self) -> Path:
        """Return the state directory."""
        return self.root / "state"

    @property
    def settings_file(self) -> Path:
        """Return the settings file, which also marks the directory as a demo's."""
        return self.root / MARK

    @property
    def authority(self) -> Path:
        """Return the folder of the local authority and its certificates."""
        return self.root / "ca"

    @property
    def impostors_authority(self) -> Path:
        """Return the folder of an authority that nobody trusts."""
        return self.root / "other-ca"

    def plan_file(self, scenario: Scenario) -> Path:
        """Return where a scenario's plan is kept, to be sent again by hand."""
        return self.root / "plans" / f"{scenario.id}.json"


def clear(root: Path, *, is_kept: bool) -> Place:
    """Return an empty place at ``root``; an earlier demo's is removed, anything else is refused.

    Raises:
        InvalidRequestError: what lies there is not a demo's, or a control plane serves it.
    """
    if root.exists() and any(root.iterdir()):
        if not (root / MARK).is_file():
            raise InvalidRequestError(
                f"{root} is not empty and not of an earlier demo",
                hint="Give another directory with --keep",
                field="keep",
            )
        if is_served(root):
            raise InvalidRequestError(
                f"a control plane serves the earlier demo in {root}, which would be removed",
                hint="Stop it with Ctrl-C where 'aisecops serve' runs, or give another directory with --keep",
                field="keep",
            )
        shutil.rmtree(root)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Place(root, is_kept)


def is_served(root: Path) -> bool:
    """Return whether a control plane answers on the state of the demo at ``root``."""
    return answers_at(Settings(state_dir=Place(root).state))


@dataclass(frozen=True, slots=True)
class Stage:
    """A control plane that serves, seen by the people and agents of the demo."""

    place: Place
    plane: ControlPlane
    address: str
    tls_address: str
    operator: AsyncClient
    running: RunningServer

    def certified_agent(self, agent: str) -> AbstractAsyncContextManager[AsyncClient]:
        """Return a client that proves to be ``agent`` by its certificate."""
        return _certified(self.tls_address, self.place.authority, self.place.authority, agent)

    def impostor(self, agent: str) -> AbstractAsyncContextManager[AsyncClient]:
        """Return a client with a certificate of the same name from another authority."""
        return _certified(self.tls_address, self.place.authority, self.place.impostors_authority, agent)

    def token_file(self, person: str) -> Path:
        """Return a file with a token of somebody of security operations."""
        path = self.place.root / f"{person.partition('@')[0]}.token"
        token = issuer(self.plane.settings).mint(person, [Role.SECOPS], seconds=_TOKEN_SECONDS)
        _write(path, token)
        path.chmod(0o600)
        return path

    def agent_token_file(self, agent: str) -> Path:
        """Return a file with a token of an agent."""
        path = self.place.root / f"{agent.rpartition('/')[2]}.token"
        _write(path, self.token(agent))
        path.chmod(0o600)
        return path

    @asynccontextmanager
    async def agents(self, names: Iterable[str]) -> AsyncIterator[Mapping[str, AsyncClient]]:
        """Yield a client for each agent, each with a token of its own."""
        async with AsyncExitStack() as closing:
            clients = {
                name: await closing.enter_async_context(_client(self.address, self.token(name))) for name in names
            }
            # Agents hold their connection; making it is no part of the time that a decision takes.
            await asyncio.gather(*(client.channel.channel_ready() for client in clients.values()))
            yield clients

    def operator_token(self) -> str:
        """Return a token of who runs the demo."""
        return issuer(self.plane.settings).mint(OPERATOR, list(Role), seconds=_TOKEN_SECONDS)

    def token(self, agent: str) -> str:
        """Return a token that proves to be ``agent``."""
        return issuer(self.plane.settings).mint(agent, [Role.AGENT], seconds=_TOKEN_SECONDS)

    @asynccontextmanager
    async def pages(self) -> AsyncIterator[Callable[[str], str]]:
        """Serve the UI and yield what makes a link that signs in once, by the page that it opens.

        Raises:
            InvalidRequestError: the UI is not installed, or cannot be served.
        """
        async with web(self.plane.settings, {DEFAULT_TENANT: self.plane}, self.running) as address:
            if not address:
                raise InvalidRequestError(
                    "the UI is not installed", hint="Install the extra: pip install 'aisecops[ui]'", field="serve"
                )
            roles = [role for role in Role if role not in (Role.AGENT, Role.TOOL)]

            def linked(to: str) -> str:
                token = issuer(self.plane.settings).mint(OPERATOR, roles, seconds=_LOOKING_SECONDS)
                return link(self.plane.settings, token, to=to, address=address)

            yield linked

    async def change_policy(self, before: str) -> tuple[str, str]:
        """Commit the demo's change and return the commit and the diff that the repository has for it.

        Raises:
            RepositoryUnavailableError: the repository cannot be written or read.
        """
        table = edited((self.place.policy / TABLE).read_text(encoding="utf-8"))
        files = {TABLE: table.encode()}
        commit = await asyncio.to_thread(
            commit_files, self.place.policy, files, message=MESSAGE, at_seconds=_now_seconds()
        )
        repository = GitRepository(
            str(self.place.policy),
            mirror=self.place.root / "compare.git",
            branch="main",
            fetch_timeout_seconds=self.plane.settings.fetch_timeout_seconds,
        )
        diffs = await ComparePolicies(repository)(before, commit)
        shutil.rmtree(self.place.root / "compare.git", ignore_errors=True)
        return commit, "\n".join(diffs.values())

    async def verify_log(self) -> LogReport:
        """Recompute every leaf of the log and its root, beside the running writer."""
        return await self.plane.log.verify()


def prepare(place: Place, cast: Sequence[Scenario], engine: Mapping[str, Path]) -> tuple[Settings, str]:
    """Make the policy repository and what lies beside it; return the settings and the first commit.

    Raises:
        RepositoryUnavailableError: the repository cannot be made.
    """
    create_policy_repository(place.policy, at_seconds=_now_seconds())
    commit = commit_files(
        place.policy,
        {BUDGETS: _capped((place.policy / BUDGETS).read_text(encoding="utf-8")).encode()},
        message=f"Cap {CAPPED_TOOL} at {CAPPED_CALLS} calls a month",
        at_seconds=_now_seconds(),
    )
    kept = {"state_dir": str(place.state), "repository": str(place.policy)}
    place.settings_file.write_text(
        "# Settings of the demo's control plane: export AISECOPS_CONFIG to this file.\n" + yaml.safe_dump(kept),
        encoding="utf-8",
    )
    for scenario in cast:
        _write(place.plan_file(scenario), json.dumps(scenario.document, indent=2, ensure_ascii=False) + "\n")
    settings = Settings(
        state_dir=place.state,
        repository=str(place.policy),
        poll_seconds=_POLL_SECONDS,
        deadline_milliseconds=_PATIENCE_SECONDS * 1000,
        **_tls(place),
        **engine,
    )
    return settings, commit


def _tls(place: Place) -> dict[str, Any]:
    """Make the authorities and return the settings that demand certificates of the trusted one."""
    wish = Wish(
        trust_domain="corp.example",
        agents=(OPERATIONS_AGENT.rpartition("/")[2],),
        people={},
        names=("localhost",),
        hours=1,
    )
    make_trial(place.impostors_authority, wish, SystemClock())
    trial = make_trial(place.authority, wish, SystemClock())
    found: dict[str, Any] = yaml.safe_load(trial.settings.read_bytes())
    return found | {"listen_address": "localhost:0"}


def _capped(table: str) -> str:
    cap = f"tools:\n  {CAPPED_TOOL}:\n    limits:\n      month: {{calls: {CAPPED_CALLS}}}\n"
    return table.replace("\ntools:\n", f"\n{cap}")


@asynccontextmanager
async def set_stage(place: Place, settings: Settings) -> AsyncIterator[Stage]:
    """Start the control plane and yield the stage; take everything down at the end.

    Raises:
        AisecopsError: the control plane cannot be started.
    """
    async with serving(settings) as (plane, running):
        address = f"unix:{settings.socket}"
        token = issuer(settings).mint(OPERATOR, list(Role), seconds=_TOKEN_SECONDS)
        async with _client(address, token) as operator:
            yield Stage(place, plane, address, f"localhost:{running.ports[0]}", operator, running)


@asynccontextmanager
async def _certified(address: str, trusted: Path, own: Path, agent: str) -> AsyncIterator[AsyncClient]:
    certificate = own / "agent" / f"{agent.rpartition('/')[2]}.pem"
    credentials = tls(ca=trusted / CERTIFICATE_FILE, certificate=certificate, key=certificate.with_suffix(".key"))
    async with AsyncClient.connect(address, credentials=credentials) as client:
        client.timeout_seconds = 2 * _PATIENCE_SECONDS
        yield client


def _client(address: str, token: str) -> AsyncClient:
    client = AsyncClient.connect(address, token)
    client.timeout_seconds = 2 * _PATIENCE_SECONDS
    return client


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _now_seconds() -> int:
    return SystemClock().now_ns() // 1_000_000_000
