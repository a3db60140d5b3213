"""Turns a policy tree into a signed bundle and keeps it: same tree, same bytes.

Order: arrange the files, check them strictly, see that their packages are theirs to declare, sign, pack, store.
Nothing of the repository is executed; the compiler runs with our capabilities.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisecops_server.adapters.bundles.archive import bundle_digest, pack, require_own_packages, rule_docs
from aisecops_server.adapters.bundles.layout import SIGNATURES, CompileTables, Layout, Library, arrange
from aisecops_server.adapters.bundles.opa_cli import KEY_ID, OpaCli
from aisecops_server.adapters.bundles.store import BundleStore
from aisecops_server.domain.bundle import Bundle, CommitId, PolicyTree
from aisecops_server.ports import Signer


@dataclass(frozen=True, slots=True)
class _Workshop:
    """The private directory of one build."""

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "bundle"

    @property
    def capabilities(self) -> Path:
        return self.root / "capabilities.json"

    @property
    def schemas(self) -> Path:
        return self.root / "schemas"

    @property
    def claims(self) -> Path:
        return self.root / "claims.json"

    def furnish(self, layout: Layout, library: Library) -> None:
        """Write everything that a build reads."""
        _write(self.files, layout.files)
        _write(self.schemas, library.schemas)
        self.capabilities.write_bytes(library.capabilities)
        self.claims.write_text(json.dumps({"keyid": KEY_ID}), encoding="ascii")


class OpaBundleBuilder:
    """Builds bundles with the OPA binary and stores them under ``directory``."""

    def __init__(
        self,
        *,
        directory: Path,
        library: Path,
        signer: Signer,
        binary: Callable[[], Path],
        compile_tables: CompileTables,
    ) -> None:
        self._store = BundleStore(directory.absolute(), signer)
        self._library = Library.load(library)
        self._signer = signer
        self._opa = OpaCli(binary)
        self._compile_tables = compile_tables
        self._building = asyncio.Lock()

    async def build(self, tree: PolicyTree) -> Bundle:
        """Return the bundle of ``tree``, from the store when it was built before and still verifies.

        Raises:
            BundleRejectedError: the tree does not compile, its data breaks a schema, or it holds what is not its own.
            EngineUnavailableError: there is no OPA binary to build with.
            IntegrityError: it cannot be stored.
        """
        async with self._building:
            return await self.stored(tree.commit) or await self._build(tree)

    async def stored(self, revision: CommitId) -> Bundle | None:
        """Return the verified bundle of ``revision`` if it was built before with the library of this version."""
        return await asyncio.to_thread(self._store.load, revision, library=self._library.digest)

    async def exact(self, revision: CommitId, digest: str) -> Bundle | None:
        """Return the very bundle that has ``digest``, whichever version of us built it, if it is stored and sound."""
        return await asyncio.to_thread(self._store.exact, revision, digest)

    async def _build(self, tree: PolicyTree) -> Bundle:
        layout = await asyncio.to_thread(arrange, tree, self._library, self._compile_tables)
        with tempfile.TemporaryDirectory(dir=self._store.work) as root:
            workshop = _Workshop(Path(root))
            await asyncio.to_thread(workshop.furnish, layout, self._library)
            inspection, signatures = await self._checked(workshop)
            require_own_packages(inspection, own=self._library.rego)
        tools = layout.tables.get("tools")
        bundle = Bundle(
            tree.commit,
            digest=bundle_digest(layout.files),
            archive=Path(),
            rules=rule_docs(inspection),
            tools=tuple(sorted(tools)) if isinstance(tools, dict) else (),
            tables=layout.tables,
        )
        archive = await asyncio.to_thread(pack, {**layout.files, SIGNATURES: signatures})
        return await asyncio.to_thread(self._store.save, bundle, archive, library=self._library.digest)

    async def _checked(self, workshop: _Workshop) -> tuple[Mapping[str, Any], bytes]:
        """Return what the files say of themselves and their signatures; of several problems the check's is told."""
        files, key = workshop.files, self._signer.key_file
        checking = asyncio.create_task(
            self._opa.check(files, capabilities=workshop.capabilities, schemas=workshop.schemas)
        )
        inspecting = asyncio.create_task(self._opa.inspect(files))
        signing = asyncio.create_task(self._opa.sign(files, key=key, claims=workshop.claims, output=workshop.root))
        # All of them to their ends, because they read files that are removed behind this.
        await asyncio.gather(checking, inspecting, signing, return_exceptions=True)
        await checking
        return await inspecting, await signing


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    directory.mkdir(mode=0o700)
    for path, content in files.items():
        file = directory / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(content)
