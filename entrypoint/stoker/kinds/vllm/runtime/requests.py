"""A request as the host takes it."""

from __future__ import annotations

from typing import Any

from stoker.kinds.vllm.runtime.params import SequenceParams
from stoker.launch.generation import Generation
from stoker.plan.types import EMBEDDING, RERANK, TEXT

# vLLM's pooling tasks, by what an engine is for. A reranker's score is that of a classifier with one class.
TASKS = {TEXT: "", EMBEDDING: "embed", RERANK: "classify"}


def params_of(generation: Generation, purpose: str) -> SequenceParams:
    """Without its ids."""
    if purpose != TEXT:
        return SequenceParams(task=TASKS[purpose], token_types=bytes(map(int, generation.token_types)))
    guide, bias, adapter = generation.guide, generation.embedding_bias, generation.adapter
    return SequenceParams(
        max_tokens=generation.max_tokens,
        end_ids=tuple(map(int, generation.end_ids)),
        min_tokens=generation.min_tokens,
        temperature=generation.temperature,
        top_p=_plain(generation.top_p),
        top_k=_plain(generation.top_k),
        min_p=_plain(generation.min_p),
        seed=_plain(generation.seed),
        presence_penalty=_plain(generation.presence_penalty),
        frequency_penalty=_plain(generation.frequency_penalty),
        repetition_penalty=_plain(generation.repetition_penalty),
        log_probs=generation.log_probs,
        top_log_probs=generation.top_log_probs or None,
        prompt_log_probs=_plain(generation.prompt_log_probs),
        guide=None if guide is None else (guide.kind, guide.text),
        bias=b"" if bias is None else bias.tobytes(),
        perf_metrics=generation.perf_metrics,
        adapter=(int(adapter.number), adapter.directory) if adapter else None,
    )


def _plain(value: Any) -> Any:
    """Triton's tensors hold numpy's numbers."""
    return value.item() if hasattr(value, "item") else value
