"""Answers in the form of OpenAI's chat and plain completions."""

from __future__ import annotations

import msgspec

from stoker.serve.answer.chunks import CHAT, DONE, END, NO_USAGE, Chunks
from stoker.serve.answer.deltas import message
from stoker.serve.generate.sequence import Piece, Sequence
from stoker.serve.request.job import Job


class ChunkWriter:
    """Streamed in chunks, or whole."""

    def __init__(self, job: Job) -> None:
        self._job = job
        about = (job.shape, job.identity, job.choices)
        self._chunks = Chunks(*about, with_usage=job.with_usage, log_probs=job.log_probs)
        self.render = self._with_usage if job.usage_always else self._chunks.render

    def _with_usage(self, index: int, piece: Piece) -> bytes:
        """vLLM's `continuous_usage_stats`: each event tells what its choice has come to."""
        prompt = len(self._job.generations[index].input_ids)
        told = {"prompt_tokens": prompt, "completion_tokens": piece.tokens, "total_tokens": prompt + piece.tokens}
        return self._chunks.render(index, piece).replace(NO_USAGE, b',"usage":' + msgspec.json.encode(told) + END)

    def ending(self) -> bytes:
        return self._chunks.usage(usage(self._job)) + DONE if self._job.with_usage else DONE

    def whole(self, said: list[Piece]) -> bytes:
        return whole(self._job, said)


def whole(job: Job, said: list[Piece]) -> bytes:
    answer = {
        "id": job.identity.id,
        "object": job.shape.object,
        "created": job.identity.created,
        "model": job.identity.model,
        "system_fingerprint": job.identity.fingerprint,
        "choices": [_choice(job, index, said[index], place) for place, index in enumerate(_given(job))],
        "usage": usage(job),
    }
    if job.shape is CHAT:
        answer |= _scores(job, 0)
    return msgspec.json.encode(answer)


def _scores(job: Job, index: int) -> dict[str, object]:
    """vLLM's field: in chat of the answer, else of each choice."""
    if job.scores is None:
        return {}
    return {"prompt_logprobs": job.scores(job.generations[index].input_ids, job.choices[index].scores)}


def usage(job: Job) -> dict[str, object]:
    """With the reasoning tokens, of a model that reasons, and the cached ones, of an engine that reports them."""
    completion = sum(choice.tokens for choice in job.choices)
    thoughts = [choice.reasoning_tokens for choice in job.choices if choice.reasoning_tokens is not None]
    cached = cached_tokens(job)
    details: dict[str, object] = {"completion_tokens_details": {"reasoning_tokens": sum(thoughts)}} if thoughts else {}
    details |= {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {
        "prompt_tokens": job.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": job.prompt_tokens + completion,
        **details,
    }


def cached_tokens(job: Job) -> int | None:
    """Of the prompts, each counted once, what the KV cache held already; None where the engine does not tell."""
    count = len(job.choices) // job.prompts
    firsts = zip(job.choices[::count], job.generations[::count], strict=True)
    cached = [
        min(len(generation.input_ids), choice.reused_blocks * job.block_tokens)
        for choice, generation in firsts
        if choice.reused_blocks is not None
    ]
    return sum(cached) if cached else None


def _given(job: Job) -> list[int]:
    """Which of the choices the answer has: all, or of each prompt's the likeliest, by the mean over their tokens."""
    if job.best is None:
        return list(range(len(job.choices)))
    count, keep = job.best
    groups = [range(start, start + count) for start in range(0, len(job.choices), count)]
    return [index for group in groups for index in sorted(group, key=lambda i: -_likelihood(job.choices[i]))[:keep]]


def _likelihood(choice: Sequence) -> float:
    return choice.log_prob / max(choice.tokens, 1)


def _choice(job: Job, index: int, piece: Piece, place: int) -> dict[str, object]:
    choice: Sequence = job.choices[index]
    log_probs = job.log_probs(piece.log_probs) if job.log_probs else None
    said = message(choice.events(piece)) if job.shape is CHAT else None
    ending = {"logprobs": log_probs, "finish_reason": choice.reason(piece)}
    if said is not None:
        return {"index": place, "message": said, **ending}
    return {"index": place, "text": piece.text, **ending, **_scores(job, index)}
