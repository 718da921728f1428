"""The script that holds functions and files to what CONTRIBUTING.md promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.loading import load

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tools/measure_code.py"


def function(name: str, lines: int) -> str:
    """Of exactly so many lines, without the decorator."""
    return f"@staticmethod\ndef {name}():\n" + "    x = 1\n" * (lines - 1)


def test_lines_that_name_any_are_counted_except_imports(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("from typing import Any\n\nx: Any = 1\nManyAnys = 2\n")
    assert load("measure_code", SCRIPT).any_share([path]) == 1 / 4


def test_more_of_them_than_a_folder_may_have_are_a_fault(tmp_path: Path) -> None:
    path, script = tmp_path / "module.py", load("measure_code", SCRIPT)
    path.write_text("x: int = 1\n" * 199 + "y: Any = 2\n")
    assert script.too_many_anys("entrypoint", [path]) == []
    path.write_text("x: int = 1\n" * 99 + "y: Any = 2\n")
    [fault] = script.too_many_anys("entrypoint", [path])
    assert fault.startswith("1.00% of lines name Any, not under ")
    assert script.too_many_anys("elsewhere", [path]) == []


def measure(folder: Path, *sources: str) -> subprocess.CompletedProcess[str]:
    for number, source in enumerate(sources):
        (folder / f"module_{number}.py").write_text(source)
    return subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, check=False)


def test_figures_are_said_and_promises_that_hold_pass(tmp_path: Path) -> None:
    sources = [function(f"f{number}", 7) + "\n" for number in range(39)]
    result = measure(tmp_path, "".join(sources), function("long", 60))
    assert result.returncode == 0, result.stderr
    assert "functions: 40; median 7 lines, p90 7, 97.5% under 30, longest 60" in result.stdout
    assert "files: 2;" in result.stdout


@pytest.mark.parametrize(
    ("sources", "fault"),
    [
        ([function("f", 61), *[function(f"f{n}", 2) for n in range(50)]], "61 lines, more than 60"),
        ([function("f", 8), function("g", 8)], "the median function has 8 lines, not under 8"),
        ([function(f"f{n}", 2 if n else 30) for n in range(30)], "96.7% of functions are under 30 lines, not 97%"),
        (["x = 1\n" * 400 + function("f", 2)], "403 lines, not under 400"),
        (
            ["class A:\n    async def f(self):\n" + "        x = 1\n" * 60 + "\n", function("g", 2)],
            "61 lines, more than 60",
        ),
    ],
)
def test_each_broken_promise_fails_and_is_named(tmp_path: Path, sources: list[str], fault: str) -> None:
    result = measure(tmp_path, *sources)
    assert result.returncode == 1
    assert re.search(rf"^broken: .*{re.escape(fault)}$", result.stderr, re.MULTILINE)


def test_the_promises_are_those_of_contributing() -> None:
    promised = (ROOT / "CONTRIBUTING.md").read_text()
    script = SCRIPT.read_text()
    numbers = {name: float(value) for name, value in re.findall(r"^([A-Z_]+) = ([\d.]+)$", script, re.MULTILINE)}
    assert f"median under {numbers['MEDIAN_BELOW']:g} lines" in promised
    assert f"{numbers['SHORT_SHARE']:.0%}".replace("%", " %") in promised
    assert f"under {numbers['SHORT_BELOW']:g} lines" in promised
    assert f"none over {numbers['LONGEST_FUNCTION']:g}" in promised
    assert f"files under {numbers['FILES_BELOW']:g}" in promised


@pytest.mark.slow
def test_the_code_itself_keeps_them() -> None:
    result = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
