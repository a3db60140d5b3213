"""The private directory in which a policy is checked: its Rego with tests, the schemas, and the allowed built-ins.

What guards the engine comes from the product's own library, as it does in every bundle, so that a check sees what will
be served.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aisecops_server.adapters.bundles.layout import Library
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.policy.rego_reach import reachable
from aisecops_server.ports.checking import CheckedPolicy

REGO = ("rego/aisecops", "rego/system")
_GUARDS = ("rego/system/", "rego/aisecops/batch/")


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where files lie for the programs that check them."""

    root: Path

    @property
    def capabilities(self) -> str:
        """Return the path of the allowed built-ins, as programs are given it."""
        return str(self.root / "capabilities.json")

    @property
    def schemas(self) -> str:
        """Return the path of the documents' schemas."""
        return str(self.root / "schemas")

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files below the root, over what is there."""
        for path, content in files.items():
            file = self.root / path
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_bytes(content)


@dataclass(slots=True)
class Workshops:
    """One workshop for each policy, made when it is first needed and gone when this is closed."""

    library: Library
    _made: dict[str, Workshop] = field(default_factory=dict)
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, policy: CheckedPolicy) -> Workshop:
        """Return the furnished workshop of a policy. What is written there must leave the policy's own files."""
        async with self._making:
            if policy.tree.commit not in self._made:
                self._made[policy.tree.commit] = await asyncio.to_thread(self._furnished, policy)
            return self._made[policy.tree.commit]

    async def small(self, policy: CheckedPolicy, chosen: Iterable[str]) -> Workshop:
        """Return a workshop with ``chosen`` files and what they depend on, for the caller to change and ``discard``."""
        return await asyncio.to_thread(self._small, policy, list(chosen))

    async def close(self) -> None:
        """Remove all workshops."""
        for workshop in self._made.values():
            await self.discard(workshop)
        self._made.clear()

    async def discard(self, workshop: Workshop) -> None:
        """Remove one workshop."""
        await asyncio.to_thread(shutil.rmtree, workshop.root, ignore_errors=True)

    def _small(self, policy: CheckedPolicy, chosen: list[str]) -> Workshop:
        guards = {f"rego/{path}": content for path, content in self.library.rego.items()}
        workshop = Workshop(Path(tempfile.mkdtemp(prefix="aisecops-check-")))
        for folder in REGO:
            (workshop.root / folder).mkdir(parents=True)
        workshop.write(reachable({**rego_of(policy), **guards}, chosen))
        return workshop

    def _furnished(self, policy: CheckedPolicy) -> Workshop:
        workshop = Workshop(Path(tempfile.mkdtemp(prefix="aisecops-check-")))
        workshop.write(rego_of(policy))
        workshop.write({f"rego/{path}": content for path, content in self.library.rego.items()})
        workshop.write({f"schemas/{name}": content for name, content in self.library.schemas.items()})
        workshop.write({"capabilities.json": self.library.capabilities})
        return workshop


def rego_of(policy: CheckedPolicy) -> dict[str, bytes]:
    """Return the policy's own Rego by path, with tests, without what guards the engine."""
    return {
        path: content
        for path, content in policy.tree.files.items()
        if path.startswith("rego/aisecops/") and path.endswith(".rego") and not path.startswith(_GUARDS)
    }


def digests(files: Mapping[str, bytes]) -> JsonValue:
    """Return what a check that reads ``files`` depends on."""
    return {path: digest(content) for path, content in files.items()}


def whole_digest(files: Mapping[str, bytes]) -> str:
    """Return one digest of many files."""
    return digest(canonical_bytes(digests(files)))
