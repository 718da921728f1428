"""What texts under JSON schemas cost those without: `python tests/performance/guided.py` against a server of the demo.

Free streams are timed beside as many free ones, and in turn beside as many under schemas: the engine shares its steps
either way, so that the second rate over the first is what guiding costs the others.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import sys
import time
from typing import Any

import openai

FREE, OTHERS, TOKENS, ROUNDS = 8, 8, 120, 20
MESSAGES: list[Any] = [{"role": "user", "content": "Tell me a long story."}]


def _schema(number: int) -> Any:
    """Too long for an answer, so that each goes on to its last token as the free ones do."""
    numbers = {"type": "array", "items": {"type": "integer"}, "minItems": 500}
    properties = {"name": {"type": "string", "maxLength": 60}, f"p{number}": numbers}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def _ask(client: openai.AsyncOpenAI, rates: list[float], **extra: Any) -> None:
    began = time.perf_counter()
    answer = await client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=TOKENS, **extra)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == TOKENS
    rates.append(TOKENS / (time.perf_counter() - began))


async def measure(url: str, *, fresh: bool) -> dict[str, float]:
    """Medians over the free streams, in tokens/s of each. `fresh`: every schema is a new one."""
    beside_free: list[float] = []
    beside_guided: list[float] = []
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=600) as client:

        def free(rates: list[float]) -> Any:
            return _ask(client, rates, extra_body={"ignore_eos": True})

        def guided(number: int) -> Any:
            form = {"type": "json_schema", "json_schema": {"name": "x", "schema": _schema(number)}}
            return _ask(client, [], response_format=form)

        await asyncio.gather(*(guided(number) for number in range(OTHERS)), free([]))
        new = itertools.count(random.randrange(OTHERS, 10**9))  # also to a server that has seen this command before
        for _ in range(ROUNDS):
            await asyncio.gather(*(free(beside_free) for _ in range(FREE)), *(free([]) for _ in range(OTHERS)))
            numbers = list(itertools.islice(new, OTHERS)) if fresh else list(range(OTHERS))
            await asyncio.gather(*(free(beside_guided) for _ in range(FREE)), *(guided(number) for number in numbers))
    alone, beside = statistics.median(beside_free), statistics.median(beside_guided)
    return {"beside_free": alone, "beside_guided": beside, "ratio": beside / alone}


if __name__ == "__main__":
    for fresh in (False, True):
        print(json.dumps({"fresh schemas": fresh, **asyncio.run(measure(sys.argv[1], fresh=fresh))}))
