"""Our stubs of packages without types, against the packages: a name that one no longer has would be checked in vain."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

STUBS = Path(__file__).parents[3] / "stubs"
_TRITON = "tritonclient.grpc.service_pb2_grpc"
ELSEWHERE = {
    "grpc.aio.EOFType": "grpc.aio._typing.EOFType",
    "openvino.DescriptorTensor": "openvino._pyopenvino.DescriptorTensor",
    "openvino.NodeInput": "openvino.utils.types.NodeInput",
    "openvino.OVDict": "openvino.utils.data_helpers.wrappers.OVDict",
    f"{_TRITON}.GRPCInferenceServiceStub": f"{_TRITON}.GRPCInferenceServiceServicer",  # each stub makes its own methods
}
"""Where the package keeps what has no public place, or says what is there."""

OURS = {"grpc.aio.EOFType.END", "openvino.Model.memory", "openvino.Model.targets"}
WITHIN_TRITON = {"triton_python_backend_utils"}
"""Modules that only Triton's stub process can import."""


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
        if module in WITHIN_TRITON:
            continue
        for name, statement in named(ast.parse(path.read_text()).body, module):
            if name not in OURS and "._" not in name:
                found.append((module, name, statement))
    return found


def real(module: str, name: str) -> object:
    """Of a class's attribute, the class's; AttributeError for what is not there. A message's fields are none."""
    known = next((known for known in ELSEWHERE if f"{name}.".startswith(f"{known}.")), "")
    path = f"{ELSEWHERE.get(known, '')}{name.removeprefix(known)}"
    home = ELSEWHERE[known].rpartition(".")[0] if known else module
    value: object = importlib.import_module(home)
    for attribute in path.removeprefix(f"{home}.").split("."):
        fields = getattr(getattr(value, "DESCRIPTOR", None), "fields_by_name", {})
        value = fields[attribute] if attribute in fields else getattr(value, attribute)
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
