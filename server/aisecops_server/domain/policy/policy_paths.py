"""Which files are policy, and what a file beside policy may be called: in a commit, or in a working copy."""

from __future__ import annotations

from pathlib import PurePosixPath

MAX_FILE_BYTES = 1024 * 1024
MAX_TREE_BYTES = 32 * 1024 * 1024
MAX_ENTRIES = 4096
MAX_PATH_BYTES = 512

POLICY_DIRECTORIES = ("rego", "data", "cases", "compliance", "conftest")
# What says which policy this is, and what its own gates let pass. Only the first is part of a bundle.
ACCEPTED_FLIPS, GATES, WAIVERS = "accepted-flips.yaml", "gates.yaml", "waivers.yaml"
POLICY_FILES = ("bundle.yaml", ACCEPTED_FLIPS, GATES, WAIVERS)
READ_SUFFIXES = frozenset({".rego", ".yaml", ".yml", ".json"})
# Files that people keep beside policy; they are not read and carry no meaning here.
IGNORED_SUFFIXES = frozenset({".md"})
IGNORED_NAMES = frozenset({"CODEOWNERS", "LICENSE", ".gitattributes", ".gitignore", ".gitkeep", ".editorconfig"})


def problem_of_name(path: str) -> str:
    """Return why a file may not be called ``path``, or an empty string when it may."""
    parts = path.split("/")
    if not path.isprintable() or "\\" in path:
        return "the name holds control characters or backslashes"
    if path.startswith("/") or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        return "the name leaves the tree"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"the name is longer than {MAX_PATH_BYTES} bytes"
    return ""


def lies_with_policy(path: str) -> bool:
    """Return whether a file lies where policy does and is not one of those that people keep beside it."""
    pure = PurePosixPath(path)
    if path not in POLICY_FILES and pure.parts[0] not in POLICY_DIRECTORIES:
        return False
    return pure.name not in IGNORED_NAMES and pure.suffix not in IGNORED_SUFFIXES


def is_policy(path: str) -> bool:
    """Return whether a file that lies with policy is read as policy."""
    return lies_with_policy(path) and PurePosixPath(path).suffix in READ_SUFFIXES
