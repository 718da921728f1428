"""Sampling for transformers' continuous batching, each request with its own parameters.

The library's own processors know temperature, top-k and top-p, but neither greedy requests beside random ones, nor
seeds, nor the model's own log probabilities. So ours choose the token themselves; what they hand back leaves the
library, which takes the largest score and tells the logarithm of its softmax, nothing else to choose or to tell.

Everything on the device is tensor code without a branch on a value, so that a CUDA graph can hold it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)

from stoker.launch.generation import Generation

# A log probability l is told as l / SCALE: exp(l / SCALE) is more than one half for all down to FLOOR, which makes it
# the largest score beside a single other one that holds the rest.
SCALE = 64.0
FLOOR = -43.0

_NO_EFFECT = {"temperature": 0.0, "top_k": math.inf, "top_p": 1.0, "min_p": 0.0}
_SMALLEST_TEMPERATURE = 1e-6


class Column(ContinuousBatchingLogitsProcessor):  # type: ignore[misc]
    """One parameter of every row of a batch, f32 [rows]; the library carries it to the device, as int32."""

    def __init__(self, name: str, default: float) -> None:
        self.supported_kwargs = {name: float}
        self.ignored_kwargs = ()
        self.values = torch.empty(0)
        self.asked = False
        self._name = name
        self._default = default

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        int32_tensor.copy_(torch.full_like(int32_tensor, self._default, dtype=torch.float32).view(torch.int32))

    def prepare_tensor_args(self, requests_with_new_token: Sequence[Any]) -> torch.Tensor:
        values = [self._of(request.state.logit_processor_kwargs) for request in requests_with_new_token]
        self.asked = any(value != self._default for value in values)
        return torch.tensor(values, dtype=torch.float32).view(torch.int32)

    def _of(self, options: dict[str, Any]) -> float:
        value: float = options.get(self._name, self._default)
        return value

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        self.values = tensor_arg[: scores.size(0)].view(torch.float32)
        return scores


class Draws(Column):
    """A fresh number in [0, 1) for each new token, from its request's own generator."""

    def __init__(self) -> None:
        super().__init__("random", 0.5)
        self.supported_kwargs = {"random": random.Random}  # type: ignore[dict-item]

    def _of(self, options: dict[str, Any]) -> float:
        generator = options.get("random")
        return self._default if generator is None else min(generator.random(), 1 - 1e-7)


class Chooser:
    """`graphs`: whether CUDA graphs may hold this, which then always takes the long way."""

    supports_continuous_batching = True

    def __init__(self, columns: dict[str, Column], draws: Draws, graphs: bool) -> None:
        self._columns = columns
        self._draws = draws
        self._graphs = graphs

    def __call__(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits [rows, vocabulary] to scores of which the library takes the largest."""
        log_probs = scores.log_softmax(-1)
        chosen = log_probs.argmax(-1)
        if self._asked("temperature"):
            drawn = self._drawn(log_probs)
            chosen = torch.where(self._columns["temperature"].values > 0, drawn, chosen)
        return told(log_probs, chosen)

    def _asked(self, *names: str) -> bool:
        return self._graphs or any(self._columns[name].asked for name in names)

    def _drawn(self, log_probs: torch.Tensor) -> torch.Tensor:
        """By inversion: the first token, in the vocabulary's order, at which the cumulated probabilities pass the row's
        number. Sorting only truncates, so that a request's tokens do not hang on what runs beside it."""
        temperature = self._columns["temperature"].values.clamp(min=_SMALLEST_TEMPERATURE)
        probabilities = (log_probs / temperature[:, None]).softmax(-1)
        if self._asked("top_k", "top_p", "min_p"):
            ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
            probabilities = torch.zeros_like(ordered).scatter_(-1, order, self._truncated(ordered))
        return _inverted(probabilities, self._draws.values)

    def _truncated(self, ordered: torch.Tensor) -> torch.Tensor:
        """As the numpy sampler: the k largest, of these the fewest that reach p, of these those above min-p."""
        top_k, top_p, min_p = (self._columns[name].values[:, None] for name in ("top_k", "top_p", "min_p"))
        ranks = torch.arange(ordered.size(-1), device=ordered.device)
        kept = torch.where(ranks < top_k, ordered, 0.0)
        before = kept.cumsum(-1) - kept
        kept = torch.where((before < top_p * kept.sum(-1, keepdim=True)) | (ranks == 0), kept, 0.0)
        return torch.where(ordered >= min_p * ordered[:, :1], kept, 0.0)


def _inverted(probabilities: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    cumulated = probabilities.cumsum(-1)
    target = draws[:, None] * cumulated[:, -1:]
    last = (cumulated < cumulated[:, -1:]).sum(-1)  # the last that adds to the sum
    return torch.minimum(torch.searchsorted(cumulated, target, right=True).squeeze(-1), last)


def told(log_probs: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Rows of two finite scores: the largest at the chosen token, its softmax there exp(log probability / SCALE)."""
    value = log_probs.gather(-1, chosen[:, None]).clamp(min=FLOOR) / SCALE
    other = (chosen[:, None] + 1) % log_probs.size(-1)
    rows = torch.full_like(log_probs, -math.inf)
    rows.scatter_(-1, other, torch.log(-torch.expm1(value)))
    return rows.scatter_(-1, chosen[:, None], value)


def processors(graphs: bool) -> Any:
    """The library's list of ours."""
    columns = {name: Column(name, default) for name, default in _NO_EFFECT.items()}
    draws = Draws()
    chooser = Chooser(columns, draws, graphs)
    made = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([*columns.values(), draws, chooser]))
    made.tensors_required = len(columns) + 1
    return made


def options_of(generation: Generation) -> dict[str, Any]:
    """What a request hands to the columns; only what has an effect."""
    if generation.temperature <= 0:
        return {}
    named = {name: getattr(generation, name) for name in _NO_EFFECT}
    options: dict[str, Any] = {name: float(value) for name, value in named.items() if value is not None}
    return {**options, "random": random.Random(generation.seed)}  # noqa: S311  sampling is no secret
