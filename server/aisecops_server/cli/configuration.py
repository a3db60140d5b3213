"""The settings of this run, from the command line, the environment, the settings file and the defaults."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aisecops_server.cli.invocation import current, state_path

if TYPE_CHECKING:
    from aisecops_server.settings import LoadedSettings, Settings


def loaded(**options: Any) -> LoadedSettings:
    """Return the settings with the origin of each; ``options`` were given to this command.

    Raises:
        InvalidRequestError: a value does not fit.
    """
    from aisecops_server.settings import load  # noqa: PLC0415 - pydantic is not needed to print help

    return load({"state_dir": state_path(current()), "tenant": current().tenant or None, **options}, dict(os.environ))


def settings() -> Settings:
    """Return the settings of a command that takes none of its own."""
    return loaded().settings


def tenant_settings(**options: Any) -> Settings:
    """Return the settings of the tenant that a command is about, whose log and state are below the state directory.

    ``options`` were given to the command.

    Raises:
        InvalidRequestError: there are several tenants and none of them was named, or the one that was is not there.
    """
    from aisecops_server.bootstrap.tenants import read_tenants  # noqa: PLC0415 - as above

    found = loaded(**options).settings
    return read_tenants(found).of(found.tenant)
