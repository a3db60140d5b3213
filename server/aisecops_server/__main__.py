"""``python -m aisecops_server`` is ``aisecops``, and both begin here."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command. A hook, which somebody waits for at each use of a tool, does not load the rest first."""
    if sys.argv[1:2] == ["hook"]:
        from aisecops_hook.main import run  # noqa: PLC0415

        run(sys.argv[2:])
    from aisecops_server.cli.main import main as command  # noqa: PLC0415

    command()


if __name__ == "__main__":
    main()
