"""The pages over an evidence package: what it is, what was checked, and its traces. No form is among them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops_server.entrypoints.web.app import Screens
from aisecops_server.entrypoints.web.event_page import event_page
from aisecops_server.entrypoints.web.evidence_page import selection_words
from aisecops_server.entrypoints.web.graph_page import graph_file, graph_page
from aisecops_server.entrypoints.web.policy_pages import policy_file
from aisecops_server.entrypoints.web.trace_list import trace_list
from aisecops_server.entrypoints.web.trace_page import trace_page
from aisecops_server.entrypoints.web.visitor import Page, Visitor


@dataclass(frozen=True, slots=True)
class OpenedPackage:
    """What the pages say of a package: its name, digest and manifest, what held, and what the reader has to know."""

    name: str
    sha256: str
    manifest: Mapping[str, Any]
    checks: Sequence[str]
    remarks: Sequence[str]

    async def page(self, _visitor: Visitor) -> Page:
        """Show the package."""
        data = {
            "name": self.name,
            "sha256": self.sha256,
            "manifest": self.manifest,
            "checks": list(self.checks),
            "remarks": list(self.remarks),
        }
        selection = selection_words(self.manifest.get("selection") or {})
        return Page("package.html", "Evidence package", {**data, "selection": selection}, data, "Package")


def package_screens(package: OpenedPackage) -> Screens:
    """Return all pages over a package."""
    return Screens(
        pages={
            "/": package.page,
            "/traces": trace_list,
            "/traces/{trace}": trace_page,
            "/traces/{trace}/graph": graph_page,
            "/traces/{trace}/events/{event}": event_page,
            "/revisions/{revision}/files/{file:path}": policy_file,
        },
        files={"/traces/{trace}/graph.svg": graph_file},
        actions={},
    )


def package_bar(package: OpenedPackage) -> Callable[[Visitor], Awaitable[Mapping[str, Any]]]:
    """Return what tells the top bar that this is a package."""

    async def told(_visitor: Visitor) -> Mapping[str, Any]:
        return {
            "sections": (("Package", "/", "p"), ("Traces", "/traces", "t")),
            "tenant": "",
            "revision": "",
            "problem": "",
            "waiting": 0,
            "package": package,
        }

    return told
