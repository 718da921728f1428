"""Every child process gets an environment that somebody has thought about."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stoker

ROOT = Path(stoker.__file__).parent
STARTERS = ("Popen", "create_subprocess_exec", "create_subprocess_shell", "check_output", "check_call")
# Programs that are meant to have this process's own environment.
WHOLE = {
    "bench/server.py": "a server of ours, with the user's settings",
    "store/remotes/docker_credentials.py": "the user's own credential helper",
}


def starts(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of_subprocess = isinstance(node.func.value, ast.Name) and node.func.value.id == "subprocess"
            if node.func.attr in STARTERS or (node.func.attr == "run" and of_subprocess):
                yield node


@pytest.mark.slow
def test_no_child_inherits_this_processs_environment() -> None:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        for call in starts(path):
            if name not in WHOLE and "env" not in {keyword.arg for keyword in call.keywords}:
                found.append(f"{name}:{call.lineno}")
    assert found == []


def test_no_childs_environment_is_made_of_all_of_ours() -> None:
    with_all = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if "**os.environ" in path.read_text().replace(" ", "")
    ]
    assert set(with_all) <= {"bench/server.py", "kinds/vllm/runtime/guard.py"}, with_all
