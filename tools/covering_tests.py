"""Runs the tests that ran the lines that differ from the commit: what `make mutants` tests each change with.

    python tools/covering_tests.py COVERAGE TESTS

COVERAGE is a file that `pytest --cov --cov-context=test TESTS` wrote. Runs in .venv, in the checkout that was changed.
Lines that only an import runs, such as a table's, are tested by whatever ran any line of their file.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from coverage import CoverageData

HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? ", re.MULTILINE)


def changed() -> tuple[Path, set[int]]:
    """The file that differs from the commit, and its lines there."""
    difference = subprocess.run(["git", "diff", "--unified=0"], capture_output=True, text=True, check=True).stdout
    named = re.search(r"^--- a/(.+)$", difference, re.MULTILINE)
    assert named is not None, "a file was changed"
    hunks = [(int(first), int(count or 1)) for first, count in HUNK.findall(difference)]
    return Path(named[1]).absolute(), {line for first, count in hunks for line in range(first, first + count)}


def covering(coverage: Path, file: Path, lines: set[int]) -> list[str]:
    """Tests by their names for pytest; empty if none ran the file."""
    data = CoverageData(str(coverage))
    data.read()
    contexts = data.contexts_by_lineno(str(file))
    tests = [tests_of(contexts.get(line, [])) for line in lines]
    if all(tests):
        return sorted(set().union(*tests))
    return sorted(tests_of([context for some in contexts.values() for context in some]))


def tests_of(contexts: list[str]) -> set[str]:
    """A context is `tests/unit/test_x.py::test_y|run`, or empty for what an import runs."""
    return {context.rpartition("|")[0] for context in contexts if context}


def main(coverage: Path, tests: str) -> int:
    names = Path(f"{coverage}.tests")
    names.write_text("\n".join(covering(coverage, *changed()) or [tests]))
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    code = pytest.main([*options, f"@{names}"])
    # A test may have no name that finds it: then all.
    return pytest.main([*options, tests]) if code == pytest.ExitCode.USAGE_ERROR else code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
