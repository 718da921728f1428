"""Prompts of random token ids: no two alike, so that no prefix cache helps but by what is asked for."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

_FIRST_ID = 3  # below are the special tokens of most vocabularies


class Prompts:
    """Of `length` ids each. The first `shared` ids are the same in all, and other than in any other Prompts."""

    def __init__(self, vocabulary: int, length: int, shared: int, seed: int | None = None):
        self._random = random.Random(seed)  # noqa: S311
        self._vocabulary = vocabulary
        self._prefix = self._ids(min(shared, length))
        self._rest = length - len(self._prefix)

    def take(self) -> list[int]:
        return [*self._prefix, *self._ids(self._rest)]

    def _ids(self, count: int) -> list[int]:
        return [self._random.randrange(min(_FIRST_ID, self._vocabulary - 1), self._vocabulary) for _ in range(count)]


def request_body(model: str, prompt: Sequence[int], output_tokens: int) -> bytes:
    """A streamed completion of exactly `output_tokens` tokens, by parameters that every kind takes."""
    body = {
        "model": model,
        "prompt": list(prompt),
        "max_tokens": output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(body, separators=(",", ":")).encode()
