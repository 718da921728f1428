"""Our stubs of packages without types, against the packages: a name that one no longer has would be checked in vain."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

STUBS = Path(__file__).parents[3] / "stubs"
ELSEWHERE = {
    "openvino.DescriptorTensor": "openvino._pyopenvino",
    "openvino.NodeInput": "openvino.utils.types",
    "openvino.OVDict": "openvino.utils.data_helpers.wrappers",
}
"""Where the package keeps what has no public place."""

OURS = {"openvino.Model.memory", "openvino.Model.targets"}


def named(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    """What a stub declares, by its path; private names are the stub's own."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield f"{prefix}.{statement.name}", statement
            yield from named(statement.body, f"{prefix}.{statement.name}")
        elif isinstance(statement, ast.FunctionDef):
            yield f"{prefix}.{statement.name}", statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield f"{prefix}.{statement.target.id}", statement


def declared() -> list[tuple[str, str, ast.stmt]]:
    found = []
    for path in sorted(STUBS.rglob("*.pyi")):
        module = ".".join(path.relative_to(STUBS).with_suffix("").parts).removesuffix(".__init__")
        for name, statement in named(ast.parse(path.read_text()).body, module):
            if name not in OURS and not name.rpartition(".")[2].startswith("_"):
                found.append((module, name, statement))
    return found


def real(module: str, name: str) -> object:
    """Of a class's attribute, the class's; AttributeError for what is not there."""
    attributes = name.removeprefix(f"{module}.").split(".")
    home = next((place for known, place in ELSEWHERE.items() if f"{name}.".startswith(f"{known}.")), module)
    value: object = importlib.import_module(home)
    for attribute in attributes:
        value = getattr(value, attribute)
    return value


@pytest.mark.parametrize(
    ("module", "name", "statement"), declared(), ids=lambda each: each if isinstance(each, str) else ""
)
def test_the_package_has_it_with_these_parameters(module: str, name: str, statement: ast.stmt) -> None:
    found = real(module, name)
    if isinstance(statement, ast.FunctionDef) and name.count(".") == module.count(".") + 1:
        takes = _parameters(found)
        wanted = [argument.arg for argument in (*statement.args.args, *statement.args.kwonlyargs)]
        assert takes is None or [each for each in wanted if each not in takes] == []


def _parameters(function: object) -> list[str] | None:
    """None where the package does not say: what is written in C, and what has several forms."""
    assert callable(function)
    try:
        found = inspect.signature(inspect.unwrap(function)).parameters
    except ValueError:
        return None
    return None if "args" in found else list(found)
