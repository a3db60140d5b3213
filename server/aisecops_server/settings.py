"""Every setting of the control plane: one frozen tree, read once, with the origin of each value.

Order, strongest first: command line, environment (``AISECOPS_`` and the field's name in capitals), the YAML file
that ``AISECOPS_CONFIG`` names, default. Only ``bootstrap`` and ``cli`` see settings.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aisecops_server.domain.errors import InvalidRequestError

PREFIX = "AISECOPS_"
CONFIG_VARIABLE = "AISECOPS_CONFIG"
_SOCKET_PATH_BYTES = 100


def default_state_dir() -> Path:
    """Return where state lives unless a setting says otherwise."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "aisecops"


def default_engine_dir() -> Path:
    """Return where installed engines live unless a setting says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aisecops" / "engine"


def database_problem(url: str) -> str:
    """Return what is wrong with the address of a database, or an empty string."""
    try:
        parts = urlsplit(url)
        has_password = bool(parts.password) or "password" in parse_qs(parts.query)
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("postgresql", "postgres"):
        return "begin it with postgresql://"
    return "take the password out, into a file that 'passfile=FILE' names" if has_password else ""


class Settings(BaseModel):
    """The settings of one control plane."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: Path = Field(
        default_factory=default_state_dir, description="Where the log, bundles, keys and sockets live."
    )
    database_url: str = Field(
        default="",
        description="A PostgreSQL database that several control planes share as their log: "
        "`postgresql://ROLE@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE&passfile=FILE`; empty for a file in the "
        "state directory. A password stands in a file of its own. With `tenants_file` without a role: each tenant's "
        "log is reached in its own.",
    )
    engine_dir: Path = Field(default_factory=default_engine_dir, description="Where installed engines live.")
    engine_path: Path | None = Field(default=None, description="An OPA binary to use instead of an installed one.")
    repository: str = Field(default="", description="The policy repository: a path or a URL.")
    tenants_file: Path | None = Field(
        default=None,
        description="A YAML file of tenants by name, each with a policy `repository` of its own, in the place of the "
        "setting; every credential then says whose it is.",
    )
    tenant: str = Field(
        default="",
        max_length=40,
        description="Which tenant a command is about. A control plane takes nobody's from here, only from credentials.",
    )
    profile: Literal["central", "edge"] = Field(
        default="central", description="`central`, or `edge`: beside agents, with policy from a centre."
    )
    edge_id: str = Field(default="", description="At an edge: the id that its credential proves to the centre.")
    centre: str = Field(default="", description="At an edge: the `host:port` of its centre.")
    centre_bundle_key: Path | None = Field(
        default=None, description="At an edge: the PEM public key that the centre signs with; nothing else counts."
    )
    centre_ca: Path | None = Field(
        default=None, description="At an edge: the PEM authorities that the centre's certificate comes from."
    )
    centre_certificate: Path | None = Field(
        default=None,
        description="At an edge: the PEM certificate that says to the centre who it is. Read when renewed.",
    )
    centre_key: Path | None = Field(default=None, description="At an edge: the PEM private key of it.")
    centre_token_file: Path | None = Field(
        default=None, description="At an edge: a file with a token that says who it is. Read at every call."
    )
    reconcile_seconds: float = Field(
        default=5.0, gt=0, le=86_400, description="At an edge: how often the centre is given what was recorded."
    )
    branch: str = Field(default="main", description="The branch whose head is wanted live.")
    follow: str = Field(
        default="",
        pattern=r"^(?:(?:branch|tag):[A-Za-z0-9_][A-Za-z0-9._/*?+-]{0,200})?$",
        description="What is followed in the place of `branch`: `tag:v*` or `branch:release/*`, of several the one "
        "with the highest version.",
    )
    trigger_address: str = Field(
        default="",
        description="Where a Git host may say that something was pushed (`POST /hooks/git`): a `host:port` of "
        "127.0.0.1 or [::1], or `unix:PATH`, behind a proxy with TLS; empty for nowhere.",
    )
    trigger_secret_file: Path | None = Field(
        default=None, description="A file, its owner's alone, with the secret that the Git host was given."
    )
    channel: str = Field(
        default="",
        max_length=100,
        description="Which release channel this is, such as `prod`; `channels` in the policy's `gates.yaml` says what "
        "it asks. One that is not there waits for two people.",
    )
    channel_keys: tuple[Path, ...] = Field(
        default=(),
        description="PEM public keys that the channel's announcements are signed with; in the environment, separated "
        "by commas. With any, only the commit that the channel announces becomes live. Empty: none is needed.",
    )
    frozen_hours: float = Field(
        default=72.0,
        ge=0,
        le=24 * 90,
        description="How long the last good policy goes on deciding after its announcement ended; then nothing is "
        "allowed until the channel announces anew. 0: at once.",
    )
    poll_seconds: float = Field(default=10.0, gt=0, le=86_400, description="How often the policy repository is read.")
    fetch_timeout_seconds: float = Field(
        default=30.0, gt=0, le=600, description="When a fetch that does not end is killed."
    )
    listen_socket: Path | None = Field(
        default=None, description="The Unix socket to serve on; `run/aisecops.sock` in the state directory if unset."
    )
    listen_address: str = Field(
        default="",
        description="A `host:port` to serve on as well; empty for none. Beyond loopback it needs TLS; with "
        "`tls_client_ca` every caller there needs a client certificate.",
    )
    listen_token_address: str = Field(
        default="",
        description="A second `host:port`, for callers that have a token and no client certificate. Same TLS.",
    )
    ui_address: str = Field(
        default="127.0.0.1:8470",
        description="The `host:port` of the UI; empty for none. Another port is taken when that of the default is in "
        "use. Beyond loopback it needs `tls_certificate`, `tls_key` and `token_keys`.",
    )
    ui_origin: str = Field(
        default="",
        pattern=r"^(?:https?://[A-Za-z0-9.\-]+(?::[0-9]+)?/?)?$",
        description="Where people open the UI when that is not its own address, such as that of a proxy before it.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="The PEM certificate, with its chain, of the TCP listeners. Read again when renewed."
    )
    tls_key: Path | None = Field(default=None, description="The PEM private key of `tls_certificate`.")
    tls_client_ca: Path | None = Field(
        default=None, description="The PEM certificates of the authorities that vouch for callers' certificates."
    )
    trust_domain: str = Field(default="", description="The one SPIFFE trust domain whose ids callers may have.")
    agent_path: str = Field(
        default="/agent/",
        pattern=r"^/(?:[A-Za-z0-9._-]+/)*$",
        description="Where the path of an agent's SPIFFE id begins. Who is below it is an agent.",
    )
    certificate_hours: int = Field(
        default=24, ge=1, le=24 * 366, description="How long a client certificate may live. Longer ones are refused."
    )
    identities_file: Path | None = Field(
        default=None,
        description="A YAML file: roles of people by SPIFFE id or by token claim, and what is withdrawn.",
    )
    deadline_milliseconds: int = Field(
        default=1_000, ge=10, le=10_000, description="How long one evaluation may take before the plan is refused."
    )
    max_in_flight: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="How many decisions may run or wait, large plans and batches counting as several. When it is "
        "full, whoever holds most gives way.",
    )
    max_running: int = Field(
        default=32,
        ge=1,
        le=10_000,
        description="How many of them run at once, at most half of `max_in_flight`; the others wait for their turn, "
        "which goes round among tenants, and in each among its agents.",
    )
    patience_milliseconds: int = Field(
        default=250,
        ge=1,
        le=60_000,
        description="How long a decision may wait for its turn, what counts as several in proportion. What would wait "
        "longer, or past its deadline, is refused at once.",
    )
    max_engines: int = Field(
        default=4, ge=2, le=64, description="How many revisions are kept warm, each as one engine process."
    )
    log_origin: str = Field(
        default="", max_length=200, description="The log's name in checkpoints; made of the log's own id if unset."
    )
    checkpoint_seconds: float = Field(
        default=1.0, ge=0.1, le=3600, description="How often the log's head is signed while the log grows."
    )
    witnesses: tuple[str, ...] = Field(
        default=(), description="Witnesses of the log, each `URL KEY`; in the environment, separated by commas."
    )
    webhooks: tuple[str, ...] = Field(
        default=(),
        description="Who is told of requests for approval, each `NAME URL SECRET_FILE`, with `private` behind it for "
        "an address of a private network; in the environment, separated by commas.",
    )
    token_keys: str = Field(
        default="",
        description="Keys of the identity provider: a JWKS file, or the https URL of one. Empty for the local issuer.",
    )
    token_keys_ca: Path | None = Field(
        default=None, description="PEM authorities of that URL's certificate, instead of the system's."
    )
    token_keys_minutes: int = Field(
        default=60, ge=1, le=24 * 60, description="How long fetched keys count when they cannot be fetched again."
    )
    grant_seconds: int = Field(
        default=30, ge=1, le=300, description="How long an execution grant lives before it must be used."
    )
    report_seconds: int = Field(
        default=300,
        ge=1,
        le=86_400,
        description="How long after a grant's end it may be told what came of it; then that counts as unknown.",
    )
    reservation_seconds: int = Field(
        default=900,
        ge=1,
        le=86_400,
        description="When what was reserved for a call that nobody reported on is charged.",
    )
    otlp_endpoint: str = Field(
        default="",
        description="The OTLP/HTTP address of a collector that is told of decisions as spans, such as "
        "`http://127.0.0.1:4318`; https, or this machine. Empty for none. No texts, no arguments.",
    )
    metrics_address: str = Field(
        default="",
        description="Where Prometheus may read `/metrics`: a `host:port` of 127.0.0.1 or [::1], or `unix:PATH`; empty "
        "for nowhere. It asks nobody who they are, and holds counts and no texts.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="How `serve` writes about itself on standard error: `text`, or `json`: an object a line, "
        "with the trace it belongs to and without the texts of exceptions.",
    )
    drift_watch: bool = Field(
        default=True,
        description="Whether recent decisions are asked again by themselves. Without it nobody is told that a record, "
        "a bundle or an engine is not what it was.",
    )
    drift_minutes: int = Field(default=60, ge=1, le=7 * 24 * 60, description="How often drift is looked for.")
    drift_sample: int = Field(
        default=200, ge=10, le=5_000, description="How many recent decisions of every kind are looked at, at most."
    )
    cluster: str = Field(
        default="", description="The `host:port` of a replay cluster's scheduler; empty to replay in this process."
    )
    cluster_ca: Path | None = Field(
        default=None, description="The PEM authority of the cluster's members, and of nobody else."
    )
    cluster_certificate: Path | None = Field(
        default=None, description="The PEM certificate with which this process is a member of the cluster."
    )
    cluster_key: Path | None = Field(default=None, description="The PEM private key of `cluster_certificate`.")
    token_audience: str = Field(default="aisecops", description="The audience that a caller's token must name.")
    token_issuer: str = Field(default="", description="The issuer that a caller's token must name; empty for any.")
    token_roles_claim: str = Field(
        default="roles",
        description="The token's claim that lists roles: its name, or a JSON pointer where it is nested.",
    )
    token_tenant_claim: str = Field(
        default="tenant",
        min_length=1,
        description="With `tenants_file`: the token's claim that names the tenant, or lists tenants; as above.",
    )

    oidc_client_id: str = Field(
        default="",
        pattern=r"^[\x21-\x7e]{0,200}$",
        description="What the UI is called at the identity provider that `token_issuer` names, so that people sign in "
        "by a redirect; empty for none. Needs `token_keys`. They come back to `/sign-in/callback`.",
    )
    oidc_client_secret_file: Path | None = Field(
        default=None,
        description="A file, its owner's alone, with the secret that the provider gave the UI (`client_secret_basic`). "
        "Without one it is a public client. Read at every sign-in.",
    )
    oidc_scopes: str = Field(
        default="openid",
        pattern=r"^openid(?: [\x21\x23-\x5b\x5d-\x7e]{1,100}){0,20}$",
        description="The scopes that the UI asks for, `openid` first; some providers give roles for one of their own.",
    )

    @field_validator("database_url")
    @classmethod
    def _without_password(cls, value: str) -> str:
        if value and (problem := database_problem(value)):
            raise ValueError(problem)
        return value

    @field_validator("witnesses", "webhooks", "channel_keys", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def socket(self) -> Path:
        """Return the Unix socket to serve on.

        A socket's path is short by nature; a state directory that is too deep gets one that its path names.
        """
        beside = self.listen_socket or self.state_dir / "run" / "aisecops.sock"
        if self.listen_socket or len(os.fsencode(beside.absolute())) <= _SOCKET_PATH_BYTES:
            return beside
        name = hashlib.sha256(os.fsencode(self.state_dir.absolute())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"aisecops-{os.getuid()}-{name}" / "aisecops.sock"

    @property
    def log_path(self) -> Path:
        """Return the audit log's file."""
        return self.state_dir / "audit.db"

    @property
    def edge_path(self) -> Path:
        """Return the file of what an edge has of its centre."""
        return self.state_dir / "edge.db"

    @property
    def checkpoint_path(self) -> Path:
        """Return the file of the latest checkpoint."""
        return self.state_dir / "checkpoint.db"

    @property
    def recordings_path(self) -> Path:
        """Return the file of recordings that were imported."""
        return self.state_dir / "traces.db"

    @property
    def engine_run_dir(self) -> Path:
        """Return where engines that run have their private directories."""
        return self.state_dir / "run" / "engines"

    @property
    def deadline_seconds(self) -> float:
        """Return the evaluation deadline in seconds."""
        return self.deadline_milliseconds / 1000


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and where each value came from: `option`, `environment`, `file` or `default`."""

    settings: Settings
    origins: Mapping[str, str]


def load(options: Mapping[str, Any], environment: Mapping[str, str]) -> LoadedSettings:
    """Return the settings; ``options`` are those given on the command line (``None`` for not given).

    Raises:
        InvalidRequestError: a value does not fit, or the file cannot be read or names an unknown setting.
    """
    layers = {
        "file": _from_file(environment.get(CONFIG_VARIABLE, "")),
        "environment": _from_environment(environment),
        "option": {name: value for name, value in options.items() if value is not None},
    }
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for origin, layer in layers.items():
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    try:
        return LoadedSettings(Settings(**values), origins)
    except ValidationError as error:
        raise _invalid(error, origins) from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    names = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
    return {names[variable]: value for variable, value in environment.items() if variable in names and value}


def _from_file(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRequestError(
            f"the settings file {path} cannot be read",
            hint=f"{CONFIG_VARIABLE} must name a YAML file of settings",
            field=CONFIG_VARIABLE,
        ) from error
    if not isinstance(content, dict):
        raise InvalidRequestError(f"the settings file {path} is not a mapping of settings", field=CONFIG_VARIABLE)
    return content


def _invalid(error: ValidationError, origins: Mapping[str, str]) -> InvalidRequestError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return InvalidRequestError(
        f"setting {name} (from {origins.get(name, 'file')}): {first['msg']}",
        hint="'aisecops config show' lists every setting and where its value comes from",
        field=name,
    )
