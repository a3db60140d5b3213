"""Turns a policy tree into a signed bundle and keeps it: same tree, same bytes.

Order: arrange the files, check them strictly, see that their packages are theirs to declare, sign, pack, store.
Nothing of the repository is executed; the compiler runs with our capabilities. What it found of the same Rego beside
tables of the same names is known for as long as the process lives, so that a changed table is not compiled again;
then no other program runs at all.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.bundles.archive import bundle_digest, pack, require_own_packages, rule_docs
from aisecops_server.adapters.bundles.layout import (
    SIGNATURES,
    CompileTables,
    Layout,
    Library,
    TableReader,
    arrange,
    content_digest,
)
from aisecops_server.adapters.bundles.opa_cli import OpaCli
from aisecops_server.adapters.bundles.signatures import signatures
from aisecops_server.adapters.bundles.store import BundleStore
from aisecops_server.domain.bundles.bundle import Bundle, CommitId, PolicyTree, RuleDoc
from aisecops_server.ports import Signer

_MOST_COMPILED = 8


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

    def furnish(self, layout: Layout, library: Library) -> None:
        """Write everything that a build reads."""
        _write(self.files, layout.files)
        _write(self.schemas, library.schemas)
        self.capabilities.write_bytes(library.capabilities)


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
        self._reader = TableReader()
        # What compiled well, by what was compiled: its rules.
        self._compiled: OrderedDict[str, tuple[RuleDoc, ...]] = OrderedDict()

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
        layout = await asyncio.to_thread(arrange, tree, self._library, self._compile_tables, read=self._reader)
        rules = await self._rules(layout)
        tools = layout.tables.get("tools")
        bundle = Bundle(
            tree.commit,
            digest=bundle_digest(layout.files),
            archive=Path(),
            rules=rules,
            tools=tuple(sorted(tools)) if isinstance(tools, dict) else (),
            tables=layout.tables,
        )
        return await asyncio.to_thread(self._signed, bundle, layout)

    def _signed(self, bundle: Bundle, layout: Layout) -> Bundle:
        """Sign, pack and store."""
        archive = pack({**layout.files, SIGNATURES: signatures(layout.files, self._signer)})
        return self._store.save(bundle, archive, library=self._library.digest)

    async def _rules(self, layout: Layout) -> tuple[RuleDoc, ...]:
        """Return what the rules say of themselves, once they compiled.

        Raises:
            BundleRejectedError: they do not, or declare what is not theirs.
        """
        compiled_from = _compiled_from(layout)
        known = self._compiled.get(compiled_from)
        if known is not None:
            return known
        workshop = _Workshop(Path(tempfile.mkdtemp(dir=self._store.work)))
        try:
            await asyncio.to_thread(workshop.furnish, layout, self._library)
            rules = self._compiled[compiled_from] = await self._checked(workshop)
        finally:
            # Some two hundred files: elsewhere, so that decisions go on.
            await asyncio.to_thread(shutil.rmtree, workshop.root, ignore_errors=True)
        if len(self._compiled) > _MOST_COMPILED:
            self._compiled.popitem(last=False)
        return rules

    async def _checked(self, workshop: _Workshop) -> tuple[RuleDoc, ...]:
        """Check and inspect side by side; of several problems the check's is told."""
        files = workshop.files
        checking = asyncio.create_task(
            self._opa.check(files, capabilities=workshop.capabilities, schemas=workshop.schemas)
        )
        inspecting = asyncio.create_task(self._opa.inspect(files))
        # Both to their ends, because they read files that are removed behind this.
        await asyncio.gather(checking, inspecting, return_exceptions=True)
        await checking
        inspection = await inspecting
        require_own_packages(inspection, own=self._library.rego)
        return rule_docs(inspection)


def _compiled_from(layout: Layout) -> str:
    """Return the digest of what the compiler's answer depends on: Rego, and where tables lie, not what they say."""
    seen = {path: content if path.endswith(".rego") else b"" for path, content in layout.files.items()}
    places = "\n".join(sorted(layout.tables))
    return content_digest({**seen, "tables": places.encode()})


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    directory.mkdir(mode=0o700)
    for path, content in files.items():
        file = directory / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(content)
