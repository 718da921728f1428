"""What another environment's Python is given of Stoker holds all that it imports there."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from stoker.fleet.dynamo import process as dynamo
from stoker.kinds.vllm.runtime import guard
from stoker.kinds.vllm.runtime import process as vllm
from stoker.source_links import link_source


@pytest.mark.parametrize(
    ("names", "module"),
    [(vllm.SOURCE, guard.HOST), (vllm.SOURCE, guard.__name__), (dynamo.SOURCE, dynamo.WORKER)],
    ids=["vllm", "vllm's guard", "dynamo"],
)
def test_all_that_it_imports_is_linked(names: Sequence[str], module: str, tmp_path: Path) -> None:
    link_source(tmp_path, *names)
    assert not missing(tmp_path, module)


def test_a_module_that_is_not_linked_is_found(tmp_path: Path) -> None:
    """The test above can fail."""
    link_source(tmp_path, "kinds/vllm/runtime", "launch/frames.py")
    assert missing(tmp_path, guard.HOST) >= {"stoker.framing", "stoker.json_text"}


def missing(folder: Path, module: str) -> set[str]:
    """Modules of Stoker's that `module` imports, by itself or through others, and that `folder` has not."""
    absent, seen, left = set(), set(), [module]
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        path = folder.joinpath(*name.split("."))
        if (file := path.with_suffix(".py")).exists():
            left += imported(file)
        elif not path.is_dir():
            absent.add(name)
    return absent


def imported(file: Path) -> Iterator[str]:
    """Names of modules; `from package import name` names one where Stoker has a module or package of that name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("stoker."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "stoker":
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if is_module(node.module, alias.name))


def is_module(package: str, name: str) -> bool:
    source = Path(vllm.__file__).parents[4].joinpath(*package.split("."), name)
    return source.is_dir() or source.with_suffix(".py").exists()
