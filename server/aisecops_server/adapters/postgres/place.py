"""Where a log is on a server: the address, the schema that holds it, and the roles that write and read it.

A control plane without tenants has the schema ``aisecops``. Each of several tenants has one of its own, and roles that
reach no other. A tenant's name is letters, digits and dashes, so what is made of it here needs no quotes in SQL and
is never another tenant's: the kind of a thing stands before the name, and no name has an underscore.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from aisecops_server.domain.tenants.tenant import is_tenant_name

SCHEMA = "aisecops"
# How the schema of a tenant begins, and the role that its control planes log in as.
OF_TENANT = f"{SCHEMA}_tenant_"
_LOCK = 0x41495345
_NAMES = re.compile(r"\baisecops(_writer|_reader)?\b")


def role_in(url: str) -> str:
    """Return the role that an address names, or an empty string."""
    parts = urlsplit(url)
    return unquote(parts.username or "") or next(iter(parse_qs(parts.query).get("user", ())), "")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one log is. ``role`` logs in; where it is empty, whom the address names."""

    url: str
    tenant: str = ""
    role: str = ""

    def __post_init__(self) -> None:
        """Refuse a name that is none: it stands in SQL."""
        if self.tenant and not is_tenant_name(self.tenant):
            raise ValueError(f"'{self.tenant}' cannot name a tenant")

    @classmethod
    def of(cls, where: Self | str) -> Place:
        """Return the place of a log; an address alone is that of a control plane without tenants."""
        return cls(where) if isinstance(where, str) else where

    @classmethod
    def of_tenant(cls, url: str, tenant: str) -> Place:
        """Return the place of a tenant's log as who works with it sees it: the tenant's role, if no other is named."""
        return cls(url, tenant, "" if role_in(url) else cls(url, tenant).login)

    @property
    def schema(self) -> str:
        """Return the schema that holds the log."""
        return self._named(OF_TENANT) if self.tenant else SCHEMA

    @property
    def login(self) -> str:
        """Return the role that a tenant's control planes log in as, unless it was given another one."""
        return self._named(OF_TENANT)

    @property
    def writer(self) -> str:
        """Return the group of roles that may add to the log."""
        return self._named(f"{SCHEMA}_writer_") if self.tenant else f"{SCHEMA}_writer"

    @property
    def reader(self) -> str:
        """Return the group of roles that may read the log."""
        return self._named(f"{SCHEMA}_reader_") if self.tenant else f"{SCHEMA}_reader"

    @property
    def lock(self) -> int:
        """Return what one migration of this log excludes another by: locks are of the whole database."""
        if not self.tenant:
            return _LOCK
        return int.from_bytes(hashlib.sha256(self.schema.encode()).digest()[:8], signed=True)

    def fitted(self, script: str) -> str:
        """Return a script that was written for the schema ``aisecops``, for this one."""
        names = {None: self.schema, "_writer": self.writer, "_reader": self.reader}
        return _NAMES.sub(lambda found: names[found.group(1)], script)

    def _named(self, kind: str) -> str:
        return f"{kind}{self.tenant.replace('-', '_')}"
