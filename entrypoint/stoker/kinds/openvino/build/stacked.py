"""Matrices that share their input, as one: its rows are theirs, one after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stoker.kinds.openvino.build.blocks import forget
from stoker.kinds.openvino.build.encoding import Checkpoint, Tensor


class Stacked:
    """A `Checkpoint` that has `{name}.weight` too, made of the `.weight` of each of `parts`."""

    def __init__(self, checkpoint: Checkpoint, name: str, parts: Sequence[str]) -> None:
        self._checkpoint, self._name, self._parts = checkpoint, f"{name}.weight", parts

    def __contains__(self, name: str) -> bool:
        return name == self._name or name in self._checkpoint

    def tensor(self, name: str) -> Tensor:
        return self._whole() if name == self._name else self._checkpoint.tensor(name)

    def names(self) -> Sequence[str]:
        return (*self._checkpoint.names(), self._name)

    def _whole(self) -> Tensor:
        """Held in memory, unlike its parts, whose pages are given back."""
        tensors = [self._checkpoint.tensor(f"{part}.weight") for part in self._parts]
        data = np.concatenate([tensor.data for tensor in tensors])
        for tensor in tensors:
            forget(tensor.data)
        return Tensor(self._name, tensors[0].dtype, data.shape, data)


def stackable(checkpoint: Checkpoint, parts: Sequence[str]) -> bool:
    """Whether all are plain matrices of one type."""
    names = [f"{part}.weight" for part in parts]
    return all(name in checkpoint for name in names) and len({checkpoint.tensor(name).dtype for name in names}) == 1
