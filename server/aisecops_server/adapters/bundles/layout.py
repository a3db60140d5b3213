"""From the files of a policy repository to the files of a bundle.

Owns what goes into a bundle and where. What guards the engine (its authorization and the batch harness) always
comes from the product's own library, never from the repository, so that a commit cannot open the engine's API; the
repository's copies of these files are left out, as are tests, schemas and capabilities.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aisecops_server.adapters.bundles.ownership import owners
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.documents.input_document import SCHEMA_VERSION
from aisecops_server.domain.errors import BundleRejectedError, EngineUnavailableError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes

ROOTS = ("aisecops", "tables", "system")
MANIFEST = ".manifest"
DATA = "data.json"
SIGNATURES = ".signatures.json"

_TEST_SUFFIX = "_test.rego"
_OWN = ("system", "aisecops/batch")
# A larger table is read anew each time: what it was read into is many times as large as the file.
_REMEMBERED_BYTES = 1024 * 1024
_TABLE_SUFFIXES = (".yaml", ".yml", ".json")
# Files that a repository may carry for its own checks and that the product supplies itself.
_LEFT_OUT = ("rego/schemas/", "rego/capabilities.json", "rego/system/authz.rego", "rego/aisecops/batch/")

CompileTables = Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue]]


@dataclass(frozen=True, slots=True)
class Library:
    """What every bundle gets from the product: guarding Rego by bundle path, capabilities, and schemas."""

    rego: Mapping[str, bytes]
    capabilities: bytes
    schemas: Mapping[str, bytes]
    digest: str

    @classmethod
    def load(cls, directory: Path) -> Library:
        """Read the library that lies under ``directory``.

        Raises:
            EngineUnavailableError: it is not there or not whole.
        """
        try:
            rego = dict(_own_rego(directory))
            capabilities = (directory / "capabilities.json").read_bytes()
            schemas = {file.name: file.read_bytes() for file in sorted((directory / "schemas").glob("*.json"))}
        except OSError as error:
            raise _incomplete(directory) from error
        if "system/authz.rego" not in rego or "aisecops/batch/batch.rego" not in rego:
            raise _incomplete(directory)
        everything = {**rego, "capabilities.json": capabilities, **schemas}
        return cls(rego, capabilities, schemas, content_digest(everything))


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a bundle before it is signed, by their path in it, and the tables among them."""

    files: Mapping[str, bytes]
    tables: Mapping[str, JsonValue]


class TableReader:
    """Reads tables, and remembers of each path what stood there last, because most commits change few of them.

    What is remembered is given only for the very same bytes. Nobody changes what was read.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[bytes, JsonValue]] = {}

    def __call__(self, path: str, content: bytes) -> JsonValue:
        """Return the one document of a YAML file.

        Raises:
            BundleRejectedError: it cannot be read.
        """
        known = self._last.get(path)
        if known is not None and known[0] == content:
            return known[1]
        value = parse_yaml(path, content)
        if len(content) <= _REMEMBERED_BYTES:
            self._last[path] = (content, value)
        return value

    def keep(self, paths: Collection[str]) -> None:
        """Forget what stood at other paths."""
        # A build whose caller has gone may still be reading, in a thread of its own.
        self._last = {path: read for path, read in list(self._last.items()) if path in paths}


def arrange(
    tree: PolicyTree, library: Library, compile_tables: CompileTables, *, read: TableReader | None = None
) -> Layout:
    """Return what a tree's bundle holds; ``read`` remembers tables of the tree before.

    Raises:
        BundleRejectedError: something is missing, misplaced, or not what a table or the manifest may be.
    """
    about, places = _about(tree), dict(table_files(tree))
    read = read or TableReader()
    tables = compile_tables({table: read(path, tree.files[path]) for table, path in places.items()})
    read.keep(places.values())
    owned = owners(about, [*places.values(), "bundle.yaml", "rego"])
    files = {**dict(rego_files(tree)), **library.rego, DATA: canonical_bytes({"tables": tables})}
    manifest: dict[str, JsonValue] = {
        "revision": tree.commit,
        "roots": list(ROOTS),
        "rego_version": 1,
        "metadata": {
            "name": about["name"],
            "owners": owned,
            "content_digest": content_digest(files),
            "input_schema_version": SCHEMA_VERSION,
        },
    }
    return Layout({**files, MANIFEST: canonical_bytes(manifest)}, tables)


def content_digest(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over the sorted paths and content hashes of ``files``."""
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n".encode())
    return whole.hexdigest()


def repository_path(bundle_path: str) -> str:
    """Return where a file of a bundle stands in the policy repository."""
    path = bundle_path.lstrip("/").removeprefix("./")
    return "data" if path == DATA else f"rego/{path}"


def _about(tree: PolicyTree) -> Mapping[str, JsonValue]:
    if "bundle.yaml" not in tree.files:
        raise _rejected("bundle.yaml", "the file is missing", "Every policy repository has one, with a 'name'")
    content = parse_yaml("bundle.yaml", tree.files["bundle.yaml"])
    about = content if isinstance(content, dict) else {}
    name = about.get("name")
    if not isinstance(name, str) or not name.strip():
        raise _rejected("bundle.yaml", "it has no 'name'", "Write 'name: ' and what you call this policy")
    if about.get("roots", list(ROOTS)) != list(ROOTS):
        raise _rejected("bundle.yaml", "the roots are not its own to choose", f"They are {', '.join(ROOTS)}")
    return about


def table_files(tree: PolicyTree) -> Iterator[tuple[str, str]]:
    """Yield the name and the path of each table.

    Raises:
        BundleRejectedError: a file under ``data`` is no table, or a table stands there twice.
    """
    seen: dict[str, str] = {}
    for path in sorted(tree.files):
        pure = PurePosixPath(path)
        if pure.parts[0] != "data":
            continue
        if len(pure.parts) != 2 or pure.suffix not in _TABLE_SUFFIXES:  # noqa: PLR2004 - data/NAME.yaml
            raise _rejected(path, "it is not a table", "Tables are data/NAME.yaml")
        if other := seen.get(pure.stem):
            raise _rejected(path, f"the table stands in {other} already", "Keep one of them")
        seen[pure.stem] = path
        yield pure.stem, path


def rego_files(tree: PolicyTree) -> Iterator[tuple[str, bytes]]:
    """Yield the bundle path and the content of each Rego file that a bundle takes from the repository.

    Raises:
        BundleRejectedError: a file under ``rego`` is in no place for policy.
    """
    for path, content in tree.files.items():
        if not path.startswith("rego/") or path.startswith(_LEFT_OUT) or path.endswith(_TEST_SUFFIX):
            continue
        if not path.startswith("rego/aisecops/") or not path.endswith(".rego"):
            raise _rejected(path, "it is not a place for policy", "Rules are Rego files under rego/aisecops/")
        yield path.removeprefix("rego/"), content


def _own_rego(directory: Path) -> Iterable[tuple[str, bytes]]:
    for part in _OWN:
        for file in sorted((directory / part).rglob("*.rego")):
            if not file.name.endswith(_TEST_SUFFIX):
                yield file.relative_to(directory).as_posix(), file.read_bytes()


def _rejected(path: str, why: str, hint: str) -> BundleRejectedError:
    return BundleRejectedError(f"{path}: {why}", hint=hint, file=path)


def _incomplete(directory: Path) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"the policy library in {directory} is not whole", hint="Install the product again; 'aisecops doctor' checks it"
    )
