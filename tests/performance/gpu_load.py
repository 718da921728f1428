"""The load of the hardware table over HTTP, for any server with OpenAI's completions.

    python gpu_load.py URL MODEL 1,16,64,256 [--prompt 500] [--tokens 200] [--vocabulary 1000:120000] [--pids 12,34]

Each stream sends random token ids, reads the whole answer and asks again: three times at one stream, twice at more.
Prints a line for each number of streams, with the CPU use in cores of the processes named by `--pids`. Standard library
only: it runs on machines without a network.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Answer:
    """Seconds; `gaps` between events that came apart."""

    first: float
    tokens: int
    gaps: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    host: str
    port: int
    model: str
    prompt: int
    low: int
    high: int

    def request(self, tokens: int) -> bytes:
        ids = [random.randrange(self.low, self.high) for _ in range(self.prompt)]
        body = {"model": self.model, "prompt": ids, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
        content = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content


async def ask(target: Target, tokens: int) -> Answer:
    reader, writer = await asyncio.open_connection(target.host, target.port)
    writer.write(target.request(tokens))
    began = time.perf_counter()
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"{status!r} {(await reader.read())[:500]!r}")
    while not (await reader.readline()).startswith(b"data: "):
        pass
    last = time.perf_counter()
    answer, tail = Answer(last - began, 0), b""
    while chunk := await reader.read(65536):
        now = time.perf_counter()
        if b"data: {" in chunk and b'"usage":{' not in chunk:
            answer.gaps.append(now - last)
        last = now
        tail = (tail + chunk)[-4096:]
    writer.close()
    usage = tail.rindex(b'"completion_tokens":') + len(b'"completion_tokens":')
    answer.tokens = int(tail[usage : usage + 12].split(b",")[0].split(b"}")[0])
    return answer


async def measure(target: Target, streams: int, tokens: int, pids: list[int]) -> str:
    repeats = 3 if streams == 1 else 2

    async def stream() -> list[Answer]:
        return [await ask(target, tokens) for _ in range(repeats)]

    cpu, began = cpu_seconds(pids), time.perf_counter()
    answers = [answer for each in await asyncio.gather(*(stream() for _ in range(streams))) for answer in each]
    seconds = time.perf_counter() - began
    rate = sum(answer.tokens for answer in answers) / seconds
    gaps = [gap for answer in answers for gap in answer.gaps]
    used = "".join(
        f" {pid}:{(after - before) / seconds:.2f}"
        for pid, before, after in zip(pids, cpu, cpu_seconds(pids), strict=True)
    )
    return (
        f"HTTP streams={streams} tok/s={rate:.1f} first {tails([answer.first for answer in answers])} "
        f"between {tails(gaps)}" + (f" cores{used}" if used else "")
    )


def cpu_seconds(pids: list[int]) -> list[float]:
    def of(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    return [of(pid) for pid in pids]


def tails(seconds: list[float]) -> str:
    ordered = sorted(seconds) or [0.0]
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50={statistics.median(ordered) * 1e3:.2f}ms p99={last * 1e3:.2f}ms"


async def run(arguments: argparse.Namespace) -> None:
    address = urlsplit(arguments.url)
    low, high = map(int, arguments.vocabulary.split(":"))
    target = Target(str(address.hostname), address.port or 80, arguments.model, arguments.prompt, low, high)
    pids = [int(pid) for pid in arguments.pids.split(",") if pid]
    for _ in range(2):
        await ask(target, 32)
    for streams in map(int, arguments.streams.split(",")):
        print(await measure(target, streams, arguments.tokens, pids), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("streams")
    parser.add_argument("--prompt", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--vocabulary", default="1000:120000")
    parser.add_argument("--pids", default="")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
