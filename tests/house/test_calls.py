"""What must not be called: clocks and chance below the composition, mocks, sleeps, foreign JSON, the environment."""

from __future__ import annotations

import ast
import re

from tests.house import tree

# An example is a whole program, with nobody above it who would hand it a clock.
EXAMPLES = set(tree.under("clients/examples/"))
PYTHON = [path for path in tree.under(f"{tree.SERVER}/", "clients/", suffix=".py") if path not in EXAMPLES]
INSIDE = tree.under(f"{tree.SERVER}/domain/", f"{tree.SERVER}/ports/", f"{tree.SERVER}/usecases/", suffix=".py")
TESTS = tree.under("tests/", suffix=".py")

CLOCK_AND_CHANCE = re.compile(
    r"time\.(time|time_ns)|datetime\.(datetime\.)?(now|utcnow|today)|datetime\.date\.today"
    r"|os\.urandom|random\..*|secrets\..*|uuid\.uuid\d"
)
MEASURING = re.compile(r"time\.(monotonic|perf_counter|process_time)(_ns)?")
READING_JSON = re.compile(r"(json|orjson)\.loads?|yaml\.(safe_)?load")
# Each of these parses bytes that others wrote, and answers for the strictness of it.
READERS = {
    f"{tree.SERVER}/settings.py",
    f"{tree.SERVER}/domain/events/event.py",
    f"{tree.SERVER}/domain/grounding/source_text.py",
    f"{tree.SERVER}/domain/formats/strict_json.py",
}
READER_FOLDERS = (
    f"{tree.SERVER}/adapters/",
    f"{tree.SERVER}/entrypoints/",
    f"{tree.SERVER}/cli/",
    f"{tree.SERVER}/demo/",
    f"{tree.SERVER}/terminal/",
    "clients/",
)
# Package clients need their user's proxies and certificates to fetch anything.
ENVIRONMENT_READERS = {f"{tree.SERVER}/adapters/opa/install.py"}


def calls(paths: list[str], pattern: re.Pattern[str]) -> list[str]:
    """Return where any of ``paths`` calls something that ``pattern`` matches whole."""
    return [f"{path}:{line} {name}" for path in paths for name, line in tree.called(path) if pattern.fullmatch(name)]


def test_the_clock_and_chance_enter_in_one_place() -> None:
    # A store draws the salts of what it keeps itself: the embedded one in SQL, the other one where it writes.
    places = {f"{tree.SERVER}/adapters/system.py", f"{tree.SERVER}/adapters/postgres/writer.py"}
    elsewhere = [path for path in PYTHON if path not in places]
    assert calls(elsewhere, CLOCK_AND_CHANCE) == []


def test_the_inside_measures_time_through_its_port() -> None:
    assert calls(INSIDE, MEASURING) == []


def test_nothing_sleeps_to_wait_for_something() -> None:
    # They pause for their readers, not for a part that is not ready.
    paced = {f"{tree.SERVER}/demo/screen.py", f"{tree.SERVER}/cli/running/top.py"}
    others = [path for path in PYTHON if path not in paced]
    assert calls([*others, *TESTS], re.compile(r"time\.sleep")) == []


def test_foreign_bytes_are_parsed_only_where_somebody_answers_for_it() -> None:
    others = [path for path in PYTHON if path not in READERS and not path.startswith(READER_FOLDERS)]
    assert calls(others, READING_JSON) == []


def test_the_environment_is_read_only_at_the_top() -> None:
    below = [path for path in PYTHON if path.startswith((f"{tree.SERVER}/adapters/", f"{tree.SERVER}/entrypoints/"))]
    reads = [
        f"{path}:{node.lineno}"
        for path in [*below, *INSIDE]
        if path not in ENVIRONMENT_READERS
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
    ]
    assert reads == []


def test_tests_use_real_parts_and_fakes_and_never_patch() -> None:
    mocking = {
        path: sorted(name for name in tree.imported(path) if name.startswith(("unittest.mock", "mock", "pytest_mock")))
        for path in TESTS
    }
    assert {path: names for path, names in mocking.items() if names} == {}
    assert calls(TESTS, re.compile(r"monkeypatch\.setattr|mocker\..*")) == []


def test_every_test_that_does_not_run_says_why() -> None:
    silent = [
        f"{path}:{node.lineno}"
        for path in TESTS
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") in ("skip", "skipif", "xfail", "importorskip", "skipTest")
        and not _says_why(node)
    ]
    bare = [
        f"{path}:{node.lineno}"
        for path in TESTS
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and any(getattr(mark, "attr", "") in ("skip", "xfail") for mark in node.decorator_list)
    ]
    assert (silent, bare) == ([], [])


def test_every_test_has_something_that_can_fail() -> None:
    idle = [
        function.where
        for path in TESTS
        for function in tree.functions(path)
        if function.node.name.startswith("test_") and not _can_fail(function.node, path)
    ]
    assert idle == []


def _says_why(node: ast.Call) -> bool:
    words = [argument for argument in node.args if isinstance(argument, ast.Constant | ast.JoinedStr)]
    words += [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
    return any(not isinstance(word, ast.Constant) or len(str(word.value)) >= 20 for word in words)


def _can_fail(node: ast.AST, path: str, *, depth: int = 3) -> bool:
    """Return whether a test asserts, or expects an error, itself or in a function of its file that it calls."""
    for part in ast.walk(node):
        if isinstance(part, ast.Assert | ast.Raise):
            return True
        name = getattr(getattr(part, "func", None), "attr", "") or getattr(getattr(part, "func", None), "id", "")
        if name in ("raises", "fail", "expect") or name.startswith(
            ("assert_", "check_", "expect_", "refuse", "require_")
        ):
            return True
        if (
            depth
            and name
            and any(
                _can_fail(other.node, path, depth=depth - 1)
                for other in tree.functions(path)
                if other.node.name == name and other.node is not node
            )
        ):
            return True
    return False
