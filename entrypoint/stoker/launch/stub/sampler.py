"""Choosing the next token from logits, in numpy, for runtimes whose engine has no sampler of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stoker.launch.generation import Generation, RequestRefusedError

Logits = npt.NDArray[np.float32]
_RANGES = {
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "repetition_penalty": (1e-3, 1e3),
}


class Sampler:
    """One sequence's sampler: the bias, penalties, then temperature, top-k, top-p and min-p, in this order.

    The repetition penalty looks at the prompt and what was generated, the other two only at what was generated.
    """

    def __init__(self, generation: Generation) -> None:
        check_ranges(generation)
        self._generation = generation
        self._seen: set[int] = {int(token) for token in generation.input_ids}
        self._counts: dict[int, int] = {}
        self._random = np.random.default_rng(generation.seed)
        bias = generation.embedding_bias
        self._bias = None if bias is None else np.asarray(bias, np.float32)

    def draw(self, logits: Logits) -> tuple[int, float]:
        """The next token of logits [vocabulary], and if asked for the log probability that the model gives it."""
        generation = self._generation
        wanted = self._penalised(logits)
        if generation.temperature <= 0:
            token = int(wanted.argmax())
        else:
            probabilities = np.exp(log_softmax(wanted / np.float32(generation.temperature)))
            token = self._pick(truncated(probabilities, generation.top_k, generation.top_p, generation.min_p))
        self._seen.add(token)
        self._counts[token] = self._counts.get(token, 0) + 1
        return token, float(log_softmax(logits)[token]) if generation.log_probs else 0.0

    def _pick(self, probabilities: Logits) -> int:
        cumulative = probabilities.cumsum(dtype=np.float64)
        return int(cumulative.searchsorted(self._random.random() * cumulative[-1], side="right"))

    def _penalised(self, logits: Logits) -> Logits:
        generation, logits = self._generation, np.array(logits, np.float32)
        if self._bias is not None:
            logits[: self._bias.size] += self._bias[: logits.size]
        if generation.repetition_penalty not in (None, 1.0):
            seen = np.fromiter(self._seen, np.int64)
            values = logits[seen]
            logits[seen] = np.where(
                values > 0, values / generation.repetition_penalty, values * generation.repetition_penalty
            )
        if self._counts and (generation.presence_penalty or generation.frequency_penalty):
            ids = np.fromiter(self._counts, np.int64)
            counts = np.fromiter(self._counts.values(), np.float32)
            logits[ids] -= counts * (generation.frequency_penalty or 0.0) + (generation.presence_penalty or 0.0)
        if sum(self._counts.values()) < generation.min_tokens:
            logits[list(generation.end_ids)] = -np.inf
        return logits


def check_ranges(generation: Generation) -> None:
    """RequestRefusedError that names the first value out of range."""
    for name, (low, high) in _RANGES.items():
        value = getattr(generation, name)
        if value is not None and not low <= value <= high:
            raise RequestRefusedError(f"{name} must be between {low:g} and {high:g}", why=f"it is {value:g}")
    if generation.top_k is not None and generation.top_k < 1:
        raise RequestRefusedError("top_k must be at least 1", why=f"it is {generation.top_k}")


def truncated(probabilities: Logits, top_k: int | None, top_p: float | None, min_p: float | None) -> Logits:
    """What is left of probabilities [vocabulary], the rest being 0; the most probable token always stays.

    top-k keeps the k largest, top-p then the fewest that together reach p of what is left, min-p those with at least
    that part of the largest.
    """
    kept = probabilities.copy()
    if top_k is not None and top_k < kept.size:
        kept[np.argpartition(kept, -top_k)[:-top_k]] = 0
    if top_p is not None and top_p < 1:
        order = np.argsort(-kept, kind="stable")
        before = kept[order].cumsum(dtype=np.float64) - kept[order]
        kept[order[1:][before[1:] >= top_p * float(kept.sum())]] = 0
    if min_p:
        kept[kept < np.float32(min_p) * kept.max()] = 0
    return kept


def log_softmax(logits: Logits) -> Logits:
    """Of the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), np.float32)
