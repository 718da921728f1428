"""Triton's model repository: one model, written anew into each run's private directory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from stoker.launch import contract
from stoker.launch.capabilities import Tensors
from stoker.launch.contract import TensorSpec

# The stub's Python is isolated: it heeds neither PYTHONPATH nor a virtual environment, so that the model says itself
# where its modules are, and which program a runtime is to start worker processes with. It also takes names of files for
# ASCII: others are given to it as it would read them from a directory, byte by byte. This file is the first that it
# imports, before numpy.
_MODEL_FILE = """\
import os
import sys


def named(path):
    return os.fsdecode(path.encode("utf-8", "surrogateescape"))


sys.path[:0] = [named(path) for path in {module_path!a}]
sys.executable = named({executable!a})

from stoker.launch.stub.model import TritonPythonModel
"""


def write_repository(
    directory: Path,
    settings_file: Path,
    max_batch_size: int,
    tensors: Tensors,
    order: Callable[[list[str]], list[str]] = list,
) -> Path:
    """Writes `<directory>/<model name>/{config.pbtxt,1/model.py}` and returns `directory`. `order` arranges the folders
    in which the model looks for modules."""
    model = directory / contract.MODEL_NAME
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(model_config(settings_file, max_batch_size, tensors))
    path = order([path for path in sys.path if path and Path(path).exists()])
    (model / "1" / "model.py").write_text(_MODEL_FILE.format(module_path=path, executable=sys.executable))
    return directory


def model_config(settings_file: Path, max_batch_size: int, tensors: Tensors) -> str:
    """config.pbtxt of our Python-backend model.

    What gives tokens has the multiplexed stream as well, since the stub's loop does it.
    """
    inputs, outputs = tensors.inputs, tensors.outputs
    if "output_ids" in outputs:
        inputs, outputs = (*inputs, contract.CHANNEL, contract.HANDLE), (*outputs, contract.FRAME)
    return "\n".join(
        (
            f'name: "{contract.MODEL_NAME}"',
            'backend: "python"',
            f"max_batch_size: {max_batch_size}",
            "model_transaction_policy { decoupled: true }",
            "instance_group [ { count: 1 kind: KIND_CPU } ]",
            parameter("settings", str(settings_file)),
            *declared("input", contract.select(contract.INPUTS, inputs)),
            *declared("output", contract.select(contract.OUTPUTS, outputs)),
            "",
        )
    )


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: {quoted(value)} }} }}'


def declared(field: str, specs: Iterable[TensorSpec]) -> Iterable[str]:
    for spec in specs:
        dims = ", ".join(str(size) for size in spec.dims)
        optional = " optional: true" if field == "input" and spec.optional else ""
        yield f'{field} [ {{ name: "{spec.name}" data_type: {spec.data_type} dims: [ {dims} ]{optional} }} ]'


def quoted(text: str) -> str:
    """A string of protobuf's text format."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
