"""The seam between a model's graph and how its weights are stored in it.

A family's graph asks for `linear("model.layers.0.self_attn.q_proj")` and gets a node it can multiply with; whether
that node is a plain constant or a compressed one with its decompression is the encoding's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from openvino import Node, Output

Value: TypeAlias = "Node | Output"
"""What a graph's operation takes: a node, for its one output, or an output."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint, still memory-mapped: `data` is a view, BF16 as uint16 bit patterns.

    `dtype` is the safetensors name: F32, F16, BF16, I32, U8...
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: npt.NDArray[Any]

    def as_f32(self) -> npt.NDArray[np.float32]:
        """A copy in f32 (BF16 widened exactly)."""
        if self.dtype == "BF16":
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        return np.ascontiguousarray(self.data, dtype=np.float32)


class Checkpoint(Protocol):
    """Every tensor of every shard, by name; raises DamagedModelError for one that is missing or out of bounds."""

    def __contains__(self, name: str) -> bool: ...

    def tensor(self, name: str) -> Tensor: ...

    def names(self) -> Sequence[str]: ...


class Encoding(Protocol):
    """Makes graph constants. Every method returns an output of element type f32.

    `linear(prefix)`: the matrix of `prefix.weight` ([out, in], to be used with transpose_b) or of a quantised
    checkpoint's tensors at that prefix (`.qweight`, `.qzeros`, `.scales`, `.g_idx`).
    `matrix(name, array)`: the same for a matrix that the graph put together itself (f32, [..., out, in]).
    `embedding(name)`: a table that is gathered from, and used as the output matrix when embeddings are tied; unless
    `head_apart`: the output matrix is then `linear` of the table's prefix.
    """

    head_apart: ClassVar[bool]

    def linear(self, checkpoint: Checkpoint, prefix: str) -> Output: ...

    def matrix(self, name: str, array: npt.NDArray[np.float32]) -> Output: ...

    def embedding(self, checkpoint: Checkpoint, name: str) -> Output: ...
