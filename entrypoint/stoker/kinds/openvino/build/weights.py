"""What a graph asks of a checkpoint: shapes are checked, and what was asked for is remembered, so that no tensor is
left out of a graph unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from openvino import Node, Output
from openvino import opset13 as ops

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.kinds.openvino.build.encoding import Checkpoint, Encoding, Tensor, Value
from stoker.kinds.openvino.build.stacked import Stacked, stackable

RECOMPUTED = (
    *("rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached"),
    *("embeddings.position_ids", "embeddings.token_type_ids"),
)
"""Ends of names of tensors that old checkpoints carry and that follow from the config."""

FLOATS = ("F32", "F16", "BF16")


class Recorded:
    """A checkpoint that remembers which tensors were asked for. Implements `Checkpoint`; refuses weights and biases
    that are not plain floating point numbers, whose bits would be taken for values."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.touched: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._checkpoint

    def tensor(self, name: str) -> Tensor:
        self.touched.add(name)
        tensor = self._checkpoint.tensor(name)
        if name.endswith((".weight", ".bias")) and tensor.dtype not in FLOATS:
            raise UnsupportedModelError(
                f"tensor {name} is stored as {tensor.dtype}",
                why=f"weights must be {', '.join(FLOATS)}, or AWQ or GPTQ in 4 bits",
                remedy="use the model's unquantised checkpoint",
            )
        return tensor

    def names(self) -> Sequence[str]:
        return self._checkpoint.names()


class Adapting(Protocol):
    """What adapters add to a projection (adapters.py)."""

    def adapted(self, y: Value, x: Value, outputs: Mapping[str, int], inputs: int) -> Node: ...


class Weights:
    """The constants of one graph. `root` is what the decoder's tensor names begin with; `adapters` change the
    projections of its layers."""

    def __init__(self, checkpoint: Checkpoint, encoding: Encoding, root: str, adapters: Adapting | None = None) -> None:
        self.checkpoint = Recorded(checkpoint)
        self.encoding = encoding
        self.root = root
        self.adapters = adapters

    def linear(self, name: str, shape: tuple[int, int], bias: bool = False) -> Linear:
        """A projection from `shape[1]` to `shape[0]` elements."""
        matrix = self.encoding.linear(self.checkpoint, name)
        _check_shape(f"{name}.weight", tuple(matrix.get_shape()), shape)
        biases = self.vector(f"{name}.bias", shape[0]) if bias else None
        return Linear(matrix, biases, self._adapt({name: shape[0]}, shape[1]))

    def _adapt(self, outputs: Mapping[str, int], inputs: int) -> Adapt | None:
        """Only in the layers: what embeds, and what ends the graph, has no place for adapters."""
        adapters = self.adapters
        if adapters is None or not all(name.startswith(f"{self.root}layers.") for name in outputs):
            return None
        return lambda y, x: adapters.adapted(y, x, outputs, inputs)

    def linears(
        self, x: Value, block: str, widths: Mapping[str, int], inputs: int, bias: bool = False
    ) -> Sequence[Value]:
        """What the projections of `block` make of x [..., inputs]; `widths` are their outputs', by name.

        One product where the checkpoint allows it, since starting one costs a decoding step as much as a small one
        takes: queries, keys and values of a 0.5B shape in int4 take 57 us apart and 25 us together, on two cores.
        """
        parts = [f"{block}.{name}" for name in widths]
        if not stackable(self.checkpoint, parts):
            shapes = [(width, inputs) for width in widths.values()]
            return [self.linear(part, shape, bias)(x) for part, shape in zip(parts, shapes, strict=True)]
        for part, width in zip(parts, widths.values(), strict=True):
            _check_shape(f"{part}.weight", self.checkpoint.tensor(f"{part}.weight").shape, (width, inputs))
        whole = f"{block}.{'_'.join(widths)}"
        matrix = self.encoding.linear(Stacked(self.checkpoint, whole, parts), whole)
        biases = self._biases(widths, block) if bias else None
        adapt = self._adapt(dict(zip(parts, widths.values(), strict=True)), inputs)
        return split(Linear(matrix, biases, adapt)(x), list(widths.values()))

    def _biases(self, widths: Mapping[str, int], block: str) -> Node:
        return ops.constant(np.concatenate([self.values(f"{block}.{n}.bias", width) for n, width in widths.items()]))

    def experts(self, blocks: Sequence[str], parts: tuple[str, ...], shape: tuple[int, int]) -> Output:
        """One constant of all experts' matrices, [experts, parts * out, in], each part having `shape`."""
        stacked = np.empty((len(blocks), len(parts), *shape), np.float32)
        for index, block in enumerate(blocks):
            for which, part in enumerate(parts):
                tensor = self._expert(f"{block}.{part}")
                _check_shape(tensor.name, tensor.shape, shape)
                stacked[index, which] = tensor.as_f32()
        name = f"{blocks[0].removesuffix('.0')}.{'_'.join(parts)}"
        return self.encoding.matrix(name, stacked.reshape(len(blocks), -1, shape[1]))

    def _expert(self, name: str) -> Tensor:
        if f"{name}.qweight" in self.checkpoint:
            raise UnsupportedModelError(
                f"tensor {name}.qweight is already quantised",
                why="quantised mixtures of experts are not supported",
                remedy="use the model's unquantised checkpoint",
            )
        return self.checkpoint.tensor(f"{name}.weight")

    def embedding(self, name: str, shape: tuple[int, int]) -> Output:
        table = self.encoding.embedding(self.checkpoint, name)
        _check_shape(name, tuple(table.get_shape()), shape)
        return table

    def uncompressed(self, name: str, shape: tuple[int, int]) -> Node:
        """An f32 constant of a matrix that stays exact at every precision."""
        tensor = self.checkpoint.tensor(name)
        _check_shape(name, tensor.shape, shape)
        return ops.constant(tensor.as_f32())

    def vector(self, name: str, size: int, offset: float = 0.0) -> Node:
        """An f32 constant of norm weights or biases, [size]."""
        return ops.constant(self.values(name, size) + np.float32(offset))

    def values(self, name: str, size: int) -> npt.NDArray[np.float32]:
        tensor = self.checkpoint.tensor(name)
        _check_shape(name, tensor.shape, (size,))
        return tensor.as_f32()

    def repeats(self, name: str, other: str) -> bool:
        """Whether a tensor is missing, or equal to another one."""
        if name not in self.checkpoint:
            return True
        first, second = self.checkpoint.tensor(name), self.checkpoint.tensor(other)
        return first.dtype == second.dtype and np.array_equal(first.data, second.data)

    def refuse_leftovers(self, ignored: tuple[str, ...]) -> None:
        """Raises UnsupportedModelError for a tensor that the graph did not use, and that is not known to be useless.

        The tensors of one quantised matrix share a prefix and count together; its bias counts alone, and may be left
        out where it is all zeros (GPTQ exporters write such biases).
        """
        used = self.checkpoint.touched
        prefixes = {name.rpartition(".")[0] for name in used}
        for name in self.checkpoint.names():
            prefix, _, kind = name.rpartition(".")
            partner = kind != "bias" and prefix in prefixes
            if name in used or partner or name.endswith(RECOMPUTED) or name.startswith(ignored):
                continue
            if kind == "bias" and not self.checkpoint.tensor(name).as_f32().any():
                continue
            raise UnsupportedModelError(
                f"tensor {name} is in the checkpoint, but config.json gives it no place in the model",
                why="leaving it out could change the model's answers",
            )


Adapt = Callable[[Value, Value], Node]


class Linear:
    """y = x W^T + b; `adapt(y, x)` adds what adapters change."""

    def __init__(self, matrix: Value, bias: Value | None, adapt: Adapt | None = None) -> None:
        self.matrix = matrix
        self.bias = bias
        self.adapt = adapt

    def __call__(self, x: Value) -> Node:
        y = ops.matmul(x, self.matrix, False, True)
        y = y if self.bias is None else ops.add(y, self.bias)
        return y if self.adapt is None else self.adapt(y, x)


def split(x: Value, widths: Sequence[int]) -> list[Output]:
    """Along the last axis of x [batch, tokens, sum of widths]."""
    return ops.variadic_split(x, np.int64(2), np.array(widths, np.int64)).outputs()


def _check_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise DamagedModelError(
            f"tensor {name} has the wrong shape", why=f"it is {list(found)}, config.json means {list(expected)}"
        )
