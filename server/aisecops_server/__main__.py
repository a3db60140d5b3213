"""``python -m aisecops_server`` is ``aisecops``."""

from __future__ import annotations

from aisecops_server.cli.main import main

if __name__ == "__main__":
    main()
