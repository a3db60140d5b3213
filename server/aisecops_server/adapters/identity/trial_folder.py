"""A folder with everything that mutual TLS needs on one machine: authority, certificates, settings, identities.

Made again it is renewed: whoever has a certificate there gets a fresh one, whoever was asked for is added, and what
people wrote into the two files stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from aisecops_server.adapters.identity.local_authority import (
    CERTIFICATE_FILE,
    LocalAuthority,
    open_authority,
    write_private,
)
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.callers.spiffe import SpiffeId, is_path, is_trust_domain
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.ports import Clock

SETTINGS_FILE = "settings.yaml"
IDENTITIES_FILE = "identities.yaml"
ADDRESS = "127.0.0.1:8443"
_FOLDERS = ("agent", "person", "edge")
_SETTINGS_NOTE = "# AISECOPS_CONFIG=<this file> aisecops serve ...\n"
_IDENTITIES_NOTE = """\
# people     roles by the SPIFFE id of a certificate (security, platform, secops, app, auditor)
# claims     roles by a value of the roles claim in a token
# withdrawn  ids, or thumbprints of certificates and tokens, that are refused within a second
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the folder must have. ``people`` have roles; ``names`` are those that the server is reached by."""

    trust_domain: str
    agents: Sequence[str]
    people: Mapping[str, Sequence[Role]]
    names: Sequence[str]
    hours: int
    edges: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a certificate."""

    id: str
    roles: tuple[Role, ...]
    certificate: Path
    expires: datetime


@dataclass(frozen=True, slots=True)
class Trial:
    """What the folder holds now."""

    authority: Path
    settings: Path
    address: str
    holders: tuple[Holder, ...]


def make_trial(directory: Path, wish: Wish, clock: Clock) -> Trial:
    """Make or renew the folder.

    Raises:
        InvalidRequestError: the folder cannot be used, or a name cannot be part of a SPIFFE id.
    """
    authority = open_authority(directory, clock)
    settings, identities = _mapping(directory / SETTINGS_FILE), _mapping(directory / IDENTITIES_FILE)
    domain = str(settings.get("trust_domain") or wish.trust_domain)
    if not is_trust_domain(domain):
        raise InvalidRequestError(f"'{domain}' cannot be a trust domain", field="--trust-domain")
    people = dict(identities.get("people") or {}) | {
        str(_spiffe(domain, "person", name)): [role.value for role in roles] for name, roles in wish.people.items()
    }
    people |= {str(_spiffe(domain, "edge", name)): [Role.EDGE.value] for name in wish.edges}
    authority.issue_server(wish.names, hours=wish.hours)
    callers = _callers(directory, domain, wish)
    holders = tuple(_holder(authority, caller, people.get(str(caller), ()), wish.hours) for caller in callers)
    settings = _settings(directory, domain) | settings
    _write(directory / SETTINGS_FILE, _SETTINGS_NOTE, settings)
    _write(directory / IDENTITIES_FILE, _IDENTITIES_NOTE, {"withdrawn": []} | identities | {"people": people})
    return Trial(directory / CERTIFICATE_FILE, directory / SETTINGS_FILE, str(settings["listen_address"]), holders)


def _callers(directory: Path, domain: str, wish: Wish) -> list[SpiffeId]:
    asked = {"agent": list(wish.agents), "person": list(wish.people), "edge": list(wish.edges)}
    there = {
        folder: sorted(path.stem for path in (directory / folder).glob("*.pem") if is_path(f"/{path.stem}"))
        for folder in _FOLDERS
    }
    return [
        _spiffe(domain, folder, name) for folder in _FOLDERS for name in dict.fromkeys(asked[folder] + there[folder])
    ]


def _holder(authority: LocalAuthority, caller: SpiffeId, roles: Sequence[str], hours: int) -> Holder:
    issued = authority.issue_caller(caller, hours=hours)
    held = (Role.AGENT,) if caller.path.startswith("/agent/") else tuple(map(Role, roles))
    return Holder(str(caller), held, issued.certificate, issued.expires)


def _spiffe(domain: str, folder: str, name: str) -> SpiffeId:
    if not is_path(f"/{name}") or "/" in name:
        raise InvalidRequestError(
            f"'{name}' cannot be the name of a certificate's holder",
            hint="Letters, digits, dots, dashes and underscores",
            field=f"--{folder}",
        )
    return SpiffeId(domain, f"/{folder}/{name}")


def _settings(directory: Path, domain: str) -> dict[str, Any]:
    here = directory.absolute()
    return {
        "listen_address": ADDRESS,
        "tls_certificate": str(here / "server.pem"),
        "tls_key": str(here / "server.key"),
        "tls_client_ca": str(here / CERTIFICATE_FILE),
        "trust_domain": domain,
        "identities_file": str(here / IDENTITIES_FILE),
    }


def _mapping(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRequestError(f"{path} cannot be read", hint="Mend it, or move it away", field="DIR") from error
    if not isinstance(found, dict):
        raise InvalidRequestError(f"{path} is not a mapping", hint="Mend it, or move it away", field="DIR")
    return found


def _write(path: Path, note: str, content: Mapping[str, Any]) -> None:
    write_private(path, (note + yaml.safe_dump(dict(content), sort_keys=False)).encode())
