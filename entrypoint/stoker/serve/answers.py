"""Answers that are sent whole."""

from __future__ import annotations

from typing import Any

import msgspec

from stoker.serve.chunks import CHAT
from stoker.serve.deltas import message
from stoker.serve.preparation import Job
from stoker.serve.sequence import Sequence


def whole(job: Job, texts: list[str]) -> bytes:
    answer = {
        "id": job.identity.id,
        "object": job.shape.object,
        "created": job.identity.created,
        "model": job.identity.model,
        "system_fingerprint": job.identity.fingerprint,
        "choices": [_choice(job, index, text) for index, text in enumerate(texts)],
        "usage": usage(job),
    }
    return msgspec.json.encode(answer)


def usage(job: Job) -> dict[str, int]:
    completion = sum(choice.tokens for choice in job.choices)
    return {
        "prompt_tokens": job.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": job.prompt_tokens + completion,
    }


def _choice(job: Job, index: int, text: str) -> dict[str, Any]:
    choice: Sequence = job.choices[index]
    log_probs = job.log_probs(choice) if job.log_probs else None
    said = message(choice.events(text)) if job.shape is CHAT else None
    ending = {"logprobs": log_probs, "finish_reason": choice.reason}
    if said is not None:
        return {"index": index, "message": said, **ending}
    return {"index": index, "text": text, **ending}
