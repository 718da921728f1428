"""As much of PyTorch as is said to TensorRT-LLM: a vector."""

from __future__ import annotations

from collections.abc import Sequence


class Tensor:
    def __init__(self, values: Sequence[float]) -> None:
        self._values = list(values)
        self.shape = (len(self._values),)

    def tolist(self) -> list[float]:
        return self._values


def tensor(values: Sequence[float]) -> Tensor:
    return Tensor(values)
