"""From adapters in PEFT's format to the one file that a graph is opened with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stoker.errors import ModelError
from stoker.kinds.openvino.files import Target, constant_name
from stoker.launch.generation import RequestRefusedError
from stoker.resolve.adapter_matrices import read_matrices
from stoker.resolve.lora import PREFIX, in_layer

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class GraphTargets:
    """`vocabulary`: what a prompt's first id is counted up by for each adapter's number."""

    vocabulary: int
    targets: tuple[Target, ...]

    @staticmethod
    def of(document: Mapping[str, Any]) -> GraphTargets:
        targets = (
            Target(tuple(each["modules"]), tuple(each["outputs"]), each["inputs"]) for each in document["targets"]
        )
        return GraphTargets(document["vocabulary"], tuple(targets))

    def modules(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs by module, from its layer on."""
        return {
            in_layer(module): (target.inputs, size)
            for target in self.targets
            for module, size in zip(target.modules, target.outputs, strict=True)
        }


@dataclass(frozen=True)
class Matrices:
    """An adapter's A [rank, inputs] and scaled B [outputs, rank], f32, by module from its layer on; `rank` is the
    largest."""

    rank: int
    pairs: Mapping[str, tuple[Floats, Floats]]


def read_adapter(directory: Path, targets: GraphTargets) -> Matrices:
    """RequestRefusedError for what the graph has no place for."""
    try:
        pairs = read_matrices(directory)
    except (ModelError, OSError) as error:
        raise RequestRefusedError("the adapter cannot be read", why=str(error)) from error
    known = targets.modules()
    for module, (inner, outer) in pairs.items():
        _check(module, (inner.shape[1], outer.shape[0]), known)
    return Matrices(
        max(inner.shape[0] for inner, _ in pairs.values()), {in_layer(m): pair for m, pair in pairs.items()}
    )


def _check(module: str, sizes: tuple[int, int], known: Mapping[str, tuple[int, int]]) -> None:
    own = known.get(in_layer(module))
    if own is None:
        others = ", ".join(sorted({name.rpartition(".")[2] for name in known}))
        raise RequestRefusedError(f"the engine takes no adapter for {module[:200]}", why=f"only for {others} in layers")
    if own != sizes:
        why = f"its module has {own[0]} inputs and {own[1]} outputs, the adapter is for {sizes[0]} and {sizes[1]}"
        raise RequestRefusedError(f"the adapter does not fit {module[:200]}", why=why)


def write_file(path: Path, graph: GraphTargets, adapters: Mapping[int, Matrices]) -> None:
    """Safetensors, for `adapters` by their numbers in the graph. OpenVINO GenAI takes its element type from a pair that
    is no target's."""
    header: dict[str, Any] = {}
    offset = 0
    for name, shape in _shapes(graph, adapters):
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for matrix in _matrices(graph, adapters):
            file.write(matrix.tobytes())


def _shapes(graph: GraphTargets, adapters: Mapping[int, Matrices]) -> Iterator[tuple[str, tuple[int, int]]]:
    ranks = sum(each.rank for each in adapters.values())
    yield "none.lora_A.weight", (1, 1)
    yield "none.lora_B.weight", (1, 1)
    for parts in _parts(graph):
        yield PREFIX + constant_name("mask", parts), (max(adapters) + 1, parts * ranks)
    for place, target in enumerate(graph.targets):
        rows = ranks * len(target.modules)
        yield PREFIX + constant_name("a", place), (rows, target.inputs)
        yield PREFIX + constant_name("b", place), (sum(target.outputs), rows)


def _matrices(graph: GraphTargets, adapters: Mapping[int, Matrices]) -> Iterator[Floats]:
    """In the order of `_shapes`."""
    yield from (np.zeros((1, 1), np.float32),) * 2
    for parts in _parts(graph):
        yield _mask(parts, adapters)
    for target in graph.targets:
        yield from _pair(target, adapters)


def _parts(graph: GraphTargets) -> list[int]:
    return sorted({len(target.modules) for target in graph.targets})


def _mask(parts: int, adapters: Mapping[int, Matrices]) -> Floats:
    """[number of the adapter, row of A]: 1 for the rows that are its own."""
    mask = np.zeros((max(adapters) + 1, parts * sum(each.rank for each in adapters.values())), np.float32)
    begin = 0
    for number, each in adapters.items():
        mask[number, begin : begin + parts * each.rank] = 1
        begin += parts * each.rank
    return mask


def _pair(target: Target, adapters: Mapping[int, Matrices]) -> tuple[Floats, Floats]:
    """A and B of all adapters, one after another; of each, its modules' one after another."""
    rows = len(target.modules) * sum(each.rank for each in adapters.values())
    inner, outer = np.zeros((rows, target.inputs), np.float32), np.zeros((sum(target.outputs), rows), np.float32)
    row = 0
    for each in adapters.values():
        column = 0
        for module, size in zip(target.modules, target.outputs, strict=True):
            if pair := each.pairs.get(in_layer(module)):
                own = slice(row, row + len(pair[0]))
                inner[own], outer[column : column + size, own] = pair
            row, column = row + each.rank, column + size
    return inner, outer
