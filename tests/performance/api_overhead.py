"""What the API itself costs: chunks a second from an engine that is scripted and as fast as Python.

    python tests/performance/api_overhead.py [--streams 16 64] [--tokens 256]

The server runs in a process of its own, on one core if `taskset` pins it; the client only counts bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import uvloop

import stoker.resolve
from stoker.launch.capabilities import Capabilities
from stoker.launch.generation import Delta, EngineState, Generation
from stoker.serve.http.app import Service, create_app
from stoker.serve.http.server import bind, serve
from stoker.serve.operate.frontend import load_frontend
from stoker.store.engine import Engine, Manifest

DEMO = Path(stoker.resolve.__file__).parent / "demo"


class FastEngine:
    """One token a turn of the event loop."""

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        for token in range(generation.max_tokens):
            await asyncio.sleep(0)
            yield Delta((300 + token % 1000,))

    async def state(self) -> EngineState:
        return EngineState(0, 0, 0, 1, 16)


def run_server(listening: socket.socket) -> None:
    manifest = Manifest(1, "scripted", "scripted", "demo", "", {"max_seq_len": 100_000}, {}, {})
    service = Service()
    service.lifecycle.attach(FastEngine(), load_frontend(Engine(DEMO, manifest), Capabilities(frozenset(), False)))
    uvloop.run(serve(create_app(service), listening))


async def one_stream(port: int, tokens: int) -> int:
    """Reads a whole stream; the number of its events."""
    body = {"model": "demo", "prompt": [5, 6, 7], "max_tokens": tokens, "ignore_eos": True, "stream": True}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    events = 0
    while received := await reader.read(1 << 16):
        events += received.count(b"data: {")
    writer.close()
    return events


async def measure(port: int, streams: int, tokens: int) -> float:
    started = time.perf_counter()
    events = await asyncio.gather(*(one_stream(port, tokens) for _ in range(streams)))
    return sum(events) / (time.perf_counter() - started)


async def report(server: int, port: int, counts: list[int], tokens: int) -> None:
    await measure(port, 4, tokens)
    for streams in counts:
        before = processor_seconds(server)
        rates = [await measure(port, streams, tokens) for _ in range(3)]
        per_core = 3 * streams * tokens / (processor_seconds(server) - before)
        print(
            f"{streams:4d} streams: {max(rates):7.0f} chunks/s (best of 3), {per_core:7.0f} a CPU second of the server"
        )


def processor_seconds(process: int) -> float:
    """User and system time, from proc(5)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--tokens", type=int, default=512)
    arguments = parser.parse_args()
    listening = bind("127.0.0.1", 0)
    server = multiprocessing.get_context("fork").Process(target=run_server, args=(listening,), daemon=True)
    server.start()
    try:
        uvloop.run(report(server.pid or 0, listening.getsockname()[1], arguments.streams, arguments.tokens))
    finally:
        server.terminate()
        server.join(10)


if __name__ == "__main__":
    main()
