"""The load of the hardware table, straight into a host's socket: what the engine gives before Triton and the API.

    python vllm_load.py SOCKET 1,16,64,256 [--prompt 500] [--tokens 200] [--vocabulary 1000:120000]

Needs Stoker's source on PYTHONPATH and msgspec. Prints one line for each number of streams.
"""

from __future__ import annotations

import argparse
import random
import socket
import statistics
import time
from array import array
from dataclasses import dataclass, field

import msgspec

from stoker.kinds.vllm.runtime import link
from stoker.kinds.vllm.runtime.params import SequenceParams
from stoker.launch.frames import RUNNING, read_frame


@dataclass
class Run:
    began: float
    first: float = 0.0
    last: float = 0.0
    tokens: int = 0
    gaps: list[float] = field(default_factory=list)

    def take(self, tokens: int, now: float) -> None:
        if not self.first:
            self.first = now - self.began
        elif tokens:
            self.gaps.append(now - self.last)
        self.tokens += tokens
        self.last = now


class Load:
    """All streams on one connection and channel. Each stream asks again when its answer has ended."""

    def __init__(self, path: str, arguments: argparse.Namespace) -> None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        self._link = link.Link(connection)
        self._prompt, self._tokens = arguments.prompt, arguments.tokens
        self._low, self._high = map(int, arguments.vocabulary.split(":"))
        self._random = random.Random(1)
        self._handle = 0
        self._live: dict[int, Run] = {}
        message = self._link.receive()
        if message is None or message[0] != link.READY:
            raise SystemExit(f"the engine is not ready: {message}")
        self.facts = message[1]

    def _ask(self, tokens: int) -> None:
        self._handle += 1
        ids = array("i", (self._random.randrange(self._low, self._high) for _ in range(self._prompt)))
        self._live[self._handle] = Run(time.perf_counter())
        params = msgspec.to_builtins(SequenceParams(max_tokens=tokens))
        self._link.send(link.ADD, 1, self._handle, ids.tobytes(), params)

    def run(self, streams: int, repeats: int, tokens: int) -> tuple[list[Run], float]:
        done: list[Run] = []
        left = streams * (repeats - 1)
        began = time.perf_counter()
        for _ in range(streams):
            self._ask(tokens)
        while self._live:
            for run in self._step():
                done.append(run)
                if left:
                    left -= 1
                    self._ask(tokens)
        return done, time.perf_counter() - began

    def _step(self) -> list[Run]:
        message = self._link.receive()
        now = time.perf_counter()
        if message is None or message[0] == link.FAILED:
            raise SystemExit(f"the engine broke: {message}")
        packed = [message[2]] if message[0] == link.FRAME else [each[1] for each in message[4]]
        ended = []
        for frame in map(read_frame, packed):
            for place, handle, reason, begin, end in frame:
                self._live[handle].take(end - begin, now)
                if reason != RUNNING:
                    if error := frame.extras.get(place, {}).get("error"):
                        raise SystemExit(error)
                    ended.append(self._live.pop(handle))
        return ended

    def report(self, streams: int) -> None:
        runs, seconds = self.run(streams, 3 if streams == 1 else 2, self._tokens)
        firsts = [run.first for run in runs]
        gaps = [gap for run in runs for gap in run.gaps]
        total = sum(run.tokens for run in runs)
        print(
            f"HOST streams={streams} tok/s={total / seconds:.1f} first {_tails(firsts)} between {_tails(gaps)}",
            flush=True,
        )


def _tails(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50={statistics.median(ordered) * 1e3:.2f}ms p99={last * 1e3:.2f}ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("socket")
    parser.add_argument("streams")
    parser.add_argument("--prompt", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--vocabulary", default="1000:120000")
    arguments = parser.parse_args()
    load = Load(arguments.socket, arguments)
    print(load.facts, flush=True)
    load.run(1, 2, 32)
    for streams in map(int, arguments.streams.split(",")):
        load.report(streams)


if __name__ == "__main__":
    main()
