"""Whether the bundle is built, signed, and read again: what would be served, made once before anybody merges."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from aisecops_server.adapters.bundles.archive import MAX_ARCHIVE_BYTES, bundle_digest, read_archive
from aisecops_server.adapters.bundles.builder import OpaBundleBuilder
from aisecops_server.adapters.bundles.checks.compile_check import table_problem
from aisecops_server.adapters.bundles.checks.workshop import whole_digest
from aisecops_server.adapters.bundles.layout import CompileTables, Library
from aisecops_server.domain.bundles.bundle import Bundle, PolicyTree
from aisecops_server.domain.errors import BundleRejectedError, IntegrityError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult, Problem
from aisecops_server.ports import Signer
from aisecops_server.ports.checking import CheckedPolicy

_BUNDLE_FILES = ("rego/", "data/", "bundle.yaml")


class BuildCheck:
    """Builds with a key that is made for it and kept nowhere, or with a given one."""

    name = CheckName.BUILD

    def __init__(
        self,
        *,
        library: Path,
        binary: Callable[[], Path],
        signer: Callable[[Path], Signer],
        compile_tables: CompileTables,
    ) -> None:
        self._library = library
        self._digest = Library.load(library).digest
        self._binary = binary
        self._signer = signer
        self._compile_tables = compile_tables

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return everything that a bundle is made of."""
        files = {path: text for path, text in policy.tree.files.items() if path.startswith(_BUNDLE_FILES)}
        return {"files": whole_digest(files), "library": self._digest}

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return why there is no bundle, or its digest and size."""
        try:
            bundle, archive = await self.built(policy.tree)
        except BundleRejectedError as error:
            return CheckResult(self.name, (table_problem(policy, error, code="build.rejected"),))
        except IntegrityError as error:
            return CheckResult(self.name, (Problem("build.unsound", error.message, hint=error.hint),))
        facts: dict[str, JsonValue] = {"digest": bundle.digest, "bytes": len(archive), "rules": len(bundle.rules)}
        return CheckResult(self.name, facts=facts)

    async def built(self, tree: PolicyTree) -> tuple[Bundle, bytes]:
        """Return the bundle of a tree and its archive, read again and compared.

        Raises:
            BundleRejectedError: it cannot be built.
            IntegrityError: what was written is not what was built.
        """
        with tempfile.TemporaryDirectory(prefix="aisecops-build-") as directory:
            root = Path(directory)
            builder = OpaBundleBuilder(
                directory=root / "bundles",
                library=self._library,
                signer=self._signer(root / "keys"),
                binary=self._binary,
                compile_tables=self._compile_tables,
            )
            bundle = await builder.build(tree)
            archive = await asyncio.to_thread(bundle.archive.read_bytes)
        if len(archive) > MAX_ARCHIVE_BYTES or bundle_digest(read_archive(archive)) != bundle.digest:
            raise IntegrityError("the archive is not the bundle that was built", hint="Try again; check the disk")
        return bundle, archive
