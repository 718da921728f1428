"""A load client light enough to share two cores with the server it measures: raw sockets, no JSON per chunk.

`python http_load.py URL MODEL STREAMS PROMPT_TOKENS NEW_TOKENS [VOCABULARY [SEED]]` prints one JSON object: the seconds
from the first request sent to the last byte, the tokens that came, and the median time to the first token. Without a
seed, prompts are such that no earlier load has left them in the prefix cache.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from urllib.parse import urlsplit


def request_body(model: str, prompt: list[int], new_tokens: int) -> bytes:
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": new_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(body).encode()


async def stream(host: str, port: int, body: bytes) -> tuple[float, int]:
    """Seconds to the first token, and how many tokens the usage chunk counted."""
    reader, writer = await asyncio.open_connection(host, port)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    began = time.perf_counter()
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"{status!r} {await reader.read()!r}")
    while not (await reader.readline()).startswith(b"data: "):
        pass
    first = time.perf_counter() - began
    tail = b""
    while chunk := await reader.read(65536):
        tail = (tail + chunk)[-4096:]
    writer.close()
    usage = tail.rindex(b'"completion_tokens":') + len(b'"completion_tokens":')
    return first, int(tail[usage : usage + 12].split(b",")[0].split(b"}")[0])


def random_prompts(streams: int, tokens: int, vocabulary: int = 2000, seed: int | None = None) -> list[list[int]]:
    generator = random.Random(seed)
    return [[generator.randrange(2, vocabulary) for _ in range(tokens)] for _ in range(streams)]


async def load(url: str, model: str, prompts: Sequence[list[int]], new_tokens: int) -> dict:
    address = urlsplit(url)
    bodies = [request_body(model, prompt, new_tokens) for prompt in prompts]
    began = time.perf_counter()
    results = await asyncio.gather(*(stream(str(address.hostname), int(address.port or 80), body) for body in bodies))
    seconds = time.perf_counter() - began
    firsts = [first for first, _ in results]
    return {"seconds": seconds, "tokens": sum(count for _, count in results), "first": statistics.median(firsts)}


if __name__ == "__main__":
    url, model = sys.argv[1:3]
    streams, prompt_tokens, new_tokens, *more = map(int, sys.argv[3:])
    prompts = random_prompts(streams, prompt_tokens, *more)
    print(json.dumps(asyncio.run(load(url, model, prompts, new_tokens))))
