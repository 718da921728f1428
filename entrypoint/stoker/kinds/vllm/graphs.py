"""For which sizes CUDA graphs are captured: the planner counts them, the engine gets the largest."""

from __future__ import annotations

LARGEST = 1024
"""Tokens. Steps of so few are bound by launching kernels: on an H200 the first token of a 700-token prompt took 22 ms
with graphs up to here (Llama-3.1-8B's shape) and 34 ms with graphs up to 512; with 2,048 nothing was quicker still."""

_SMALL = (1, 2, 4)
_STEP, _WIDE_FROM, _WIDE_STEP = 8, 256, 16


def largest(step_tokens: int) -> int:
    """Of the captured sizes, where no step has more than `step_tokens` tokens."""
    return min(LARGEST, step_tokens)


def prefill_sizes(step_tokens: int = LARGEST) -> tuple[int, ...]:
    """In pieces, around attention: for steps with prompts in them. vLLM's own spacing."""
    sizes = (*_SMALL, *range(_STEP, _WIDE_FROM, _STEP), *range(_WIDE_FROM, LARGEST + 1, _WIDE_STEP))
    return tuple(size for size in sizes if size <= step_tokens)


def decode_sizes(batch: int) -> tuple[int, ...]:
    """Whole steps that only decode, up to the first size that holds `batch` sequences: no step has more."""
    sizes = prefill_sizes()
    most = next((size for size in sizes if size >= batch), LARGEST)
    return tuple(size for size in sizes if size <= most)
