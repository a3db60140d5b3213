"""``python -m docs.generate`` writes every reference page, the OpenAPI document and the one-file verifier.

With ``--check`` it names the stale ones and fails.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import (
    api,
    commands,
    errors,
    events,
    frameworks,
    licences,
    openapi,
    roles,
    rules,
    schemas,
    settings,
    verifier,
)

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
NOTICE = "<!-- Written by `make docs` from {source}; edit that instead. -->\n\n"

PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "rpc.md": ("proto/aisecops/v1", api.page),
    "roles.md": ("the table of calls and roles, and proto/aisecops/v1", roles.page),
    "error-reasons.md": ("error_reason.proto, the error classes and the table of status codes", errors.page),
    "settings.md": ("the settings model", settings.page),
    "cli.md": ("the command tree", commands.page),
    "frameworks.md": ("the mappings in bundles/default/compliance and the METADATA of the rules", frameworks.page),
    "events.md": ("the list of kinds of events", events.page),
    "licences.md": ("requirements/server.lock, and what each package says of itself", licences.page),
    "rules.md": ("the METADATA of the rules", rules.page),
    "input-document.md": ("the models of the input document", schemas.input_document),
    "screen-document.md": ("the models of the document about texts, and the detectors", schemas.screen_document),
    "tables.md": ("the models of the policy tables", schemas.policy_tables),
}


def main() -> int:
    """Write the pages, or compare them, and return the exit code."""
    pages = {REFERENCE / name: NOTICE.format(source=source) + make() for name, (source, make) in PAGES.items()}
    pages[verifier.ONE_FILE] = verifier.page()
    pages[openapi.SHOWN] = pages[openapi.SERVED] = openapi.page()
    stale = [path for path, content in pages.items() if not path.exists() or path.read_text("utf-8") != content]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"stale: {path.relative_to(ROOT)}; run 'make docs'")
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
