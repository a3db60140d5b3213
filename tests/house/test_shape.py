"""Sizes, names and signatures: what keeps a file readable in one sitting."""

from __future__ import annotations

import ast
import statistics
from pathlib import PurePosixPath

from tests.house import tree

PRODUCT = (f"{tree.SERVER}/", "clients/", "docs/")
TESTS = ("tests/", "benchmarks/")
MODULE_LINES = 500
RULE_LINES = 150
FUNCTION_LINES = 45
# The composition root is read from top to bottom: one long function is clearer there than many that pass parts on.
COMPOSITION = f"{tree.SERVER}/bootstrap/"
COMPOSITION_LINES = 100
MEDIAN_FUNCTION_LINES = 12
POSITIONAL_PARAMETERS = 4
# Proofs about the log, which who holds an earlier head of it may ask for.
PROOFS = {"is_included", "consistency_proof", "is_consistent"}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc", "core", "models"}


def test_a_module_is_short_enough_to_be_read_whole() -> None:
    lengths = {path: len(tree.text(path).splitlines()) for path in tree.under(*PRODUCT, *TESTS, suffix=".py")}
    assert {path: lines for path, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_a_policy_file_is_short_enough_to_be_read_whole() -> None:
    long = [path for path in tree.under("rego/", suffix=".rego") if len(tree.text(path).splitlines()) > MODULE_LINES]
    rules = [
        path
        for path in tree.under("rego/aisecops/rules/", suffix=".rego")
        if not path.endswith("_test.rego") and len(tree.text(path).splitlines()) > RULE_LINES
    ]
    assert (long, rules) == ([], [])


def test_functions_are_small() -> None:
    found = [function for path in tree.under(*PRODUCT, suffix=".py") for function in tree.functions(path)]
    large = [
        f"{function.where}: {function.lines} lines"
        for function in found
        if function.lines > (COMPOSITION_LINES if function.where.startswith(COMPOSITION) else FUNCTION_LINES)
    ]
    assert large == []
    assert statistics.median(function.lines for function in found) <= MEDIAN_FUNCTION_LINES


def test_a_function_with_many_parameters_takes_them_by_keyword() -> None:
    crowded = [
        function.where
        for path in tree.under(*PRODUCT, suffix=".py")
        for function in tree.functions(path)
        if _positional(function.node) > POSITIONAL_PARAMETERS
        and not {"override"} & {getattr(mark, "id", "") for mark in function.node.decorator_list}
        and not _is_click_command(function.node)
    ]
    assert crowded == []


def test_no_file_or_folder_is_named_for_having_no_subject() -> None:
    parts = {
        path: {PurePosixPath(part).stem.strip("_") for part in PurePosixPath(path).parts}
        for path in tree.files()
        if path.endswith((".py", ".rego", ".proto"))
    }
    assert [path for path, names in parts.items() if names & BANNED_NAMES] == []


def test_every_package_that_is_shipped_says_that_it_is_typed() -> None:
    for package in ("client", "grant", "mcp", "verify"):
        assert f"clients/aisecops_{package}/py.typed" in tree.files()
    assert f"{tree.SERVER}/py.typed" in tree.files()


def test_no_function_or_class_is_there_for_nobody() -> None:
    own = tree.under(f"{tree.SERVER}/", suffix=".py")
    used = {
        node.id if isinstance(node, ast.Name) else node.attr
        for path in [*own, *tree.under("clients/", "docs/generate/", suffix=".py")]
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Name | ast.Attribute)
    }
    idle = {
        node.name
        for path in own
        for node in tree.parsed(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        # What is decorated is used by its decorator, as a command is.
        and not node.decorator_list
        and node.name not in used
    }
    assert idle <= PROOFS, idle - PROOFS


def _positional(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    return len([name for name in names if name not in ("self", "cls")])


def _is_click_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Click passes every parameter by keyword, whatever the signature says."""
    marks = [mark.func if isinstance(mark, ast.Call) else mark for mark in node.decorator_list]
    return any(getattr(mark, "id", getattr(mark, "attr", "")) in ("command", "option", "argument") for mark in marks)
