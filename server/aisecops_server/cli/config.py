"""``aisecops config``: the settings and where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisecops_server.cli.configuration import loaded
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show
from aisecops_server.cli.tree import Entry, group

if TYPE_CHECKING:
    from rich.console import Console

config = group(
    "config",
    help="Show the settings and where each comes from.",
    entries={"show": Entry("aisecops_server.cli.config:show_config", "Print every setting, its value and its origin.")},
    examples="aisecops config show",
)


@command("show", examples="aisecops config show -o json | jq .settings.state_dir")
def show_config() -> ExitCode:
    """Print every setting, its value and its origin.

    Strongest first: command line, environment (AISECOPS_ and the name in capitals), the YAML file that
    AISECOPS_CONFIG names, default.
    """
    found = loaded()
    values = found.settings.model_dump(mode="json")
    document = {"settings": {name: {"value": value, "origin": found.origins[name]} for name, value in values.items()}}

    def draw(console: Console) -> None:
        from aisecops_server.terminal.lists import plain_table  # noqa: PLC0415

        table = plain_table("setting", "value", "from", "what it is")
        table.columns[0].no_wrap = True
        for name, field in type(found.settings).model_fields.items():
            value = values[name]
            table.add_row(name, "" if value is None else str(value), found.origins[name], field.description or "")
        console.print(table)

    show(document, draw)
    return ExitCode.OK
