"""Fuzzes one reader of strangers' bytes, guided by which bytes reach new code (needs atheris).

    python -m tests.fault.fuzzing READER [--runs 1000000] [--seed 1]

ends with an error at the first bytes that bring anything else than a refusal, or take too long.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

_LONGEST = 4096
_OURS = ["aisecops_grant", "aisecops_mcp", "aisecops_server", "aisecops_verify", "tests"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz one reader, guided by what code its bytes reach.")
    parser.add_argument("reader")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    atheris: Any = importlib.import_module("atheris")
    # What is watched has to be imported under its eyes.
    with atheris.instrument_imports(include=_OURS):
        reader = importlib.import_module("tests.fault.readers").READERS[options.reader]
    with tempfile.TemporaryDirectory(prefix="aisecops-fuzz-") as corpus:
        for number, example in enumerate(reader.examples):
            (Path(corpus) / str(number)).write_bytes(example)
        limits = (f"-runs={options.runs}", f"-seed={options.seed}", f"-max_len={_LONGEST}", "-print_final_stats=1")
        atheris.Setup([sys.argv[0], corpus, *limits], reader.require_read_or_refused)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
