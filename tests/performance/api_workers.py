"""What API processes cost and give: an engine that emits tokens, behind one process, one beside the server, and two.

    python tests/performance/api_workers.py [--streams 64] [--tokens 300] [--rounds 3] [--requests 20000] [--step-ms 10]

Prints tokens/s and processor time for each, and then sends many small requests with two keys, and one that is none,
through two processes: what clients saw beside what the server counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from multiplexed import cpu_seconds
from processes import http_load

from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.capabilities import Capabilities
from stoker.launch.replicas import Replicas
from stoker.launch.routing import Router
from stoker.launch.settings import EngineSettings
from stoker.launch.supervisor import Patience, Supervisor
from stoker.plan.types import Chosen, KvPool
from stoker.progress import Silent
from stoker.resolve.local import DEMO_DIRECTORY
from stoker.serve.generate.admission import Capacity
from stoker.serve.http.app import create_app
from stoker.serve.http.connections import Connections
from stoker.serve.http.keys import Keys
from stoker.serve.http.limits import Limits
from stoker.serve.http.server import HttpServer, bind
from stoker.serve.operate.frontend import Recipe
from stoker.serve.operate.service import Exposure, Service
from stoker.store.engine import Engine, Manifest
from stoker.workers.crew import Crew
from stoker.workers.orders import Start

HERE = Path(__file__).parent
WAYS = {"in the server's process": 0, "1 process": 1, "2 processes": 2}
PROMPT, PLACES, QUEUE = 8, 16, 16
KEYS = ("sesame", "open-up", "wrong")


class Serving:
    """The emitting engine behind so many API processes; 0: the API in this one."""

    def __init__(self, replicas: Replicas, processes: int, keys: str = "", limited: bool = False) -> None:
        self.service = Service(limits=Limits(queue=QUEUE if limited else 100_000), exposure=Exposure(keys=Keys(keys)))
        capacity = Capacity(PLACES, 4096, 32, 1) if limited else Capacity(512, 1 << 20, 32)
        manifest = Manifest(1, "emitter", "emitter", "demo", "", {"max_seq_len": 2048}, {}, {})
        engine, limits = Engine(DEMO_DIRECTORY, manifest), self.service.limits
        self.recipe = Recipe(
            engine, Capabilities(frozenset(), False), ("demo",), 2048, capacity, limits, "auto", "auto", True
        )
        self.replicas, bound = replicas, bind("127.0.0.1", 0)
        self.crew: Crew | None = None
        if processes:
            start = Start(
                0, limits, {}, (), (), (), False, False, False, False, 75.0, "", "text", "warning", counted=Path()
            )
            self.crew = Crew(processes, start, self.service, bound, Connections(4096))
        self.server = self.crew or HttpServer(create_app(self.service), bound)
        self.url = f"http://127.0.0.1:{self.server.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.server.serve())
        frontend = await asyncio.to_thread(self.recipe.load, self.service.adapters)
        if self.crew:
            await self.crew.equip(self.recipe, self.replicas)
        self.service.attach(self.replicas, frontend)
        await asyncio.sleep(0.5)
        yield
        await self.server.stop()
        await task

    async def processor_seconds(self) -> float:
        """Of all that answer the API, this process included."""
        states = await self.crew.states() if self.crew else ()
        return cpu_seconds(os.getpid())[0] + sum(one.processor_seconds for one in states)


async def speed(serving: Serving, streams: int, tokens: int) -> tuple[float, float]:
    """Tokens per second, and seconds of processor time for 100,000 tokens."""
    before = await serving.processor_seconds()
    result = await asyncio.to_thread(http_load, serving.url, "demo", streams, PROMPT, tokens)
    spent = await serving.processor_seconds() - before
    return result["tokens"] / result["seconds"], spent / result["tokens"] * 100_000


async def small_requests(port: int, key: str, count: int, seen: Counter[tuple[str, int]]) -> None:
    """One after another, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": "demo", "prompt": [5, 6, 7], "max_tokens": 4, "ignore_eos": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json"
    request = f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    for _ in range(count):
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        seen[key, int(answer.split(b" ", 2)[1])] += 1
    writer.close()


async def exact(serving: Serving, requests: int, connections: int = 60) -> None:
    seen: Counter[tuple[str, int]] = Counter()
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, serving.service.admission.reserved_blocks)
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(watch())
    each = requests // connections
    asking = [small_requests(serving.server.port, KEYS[n % len(KEYS)], each, seen) for n in range(connections)]
    await asyncio.gather(*asking)
    watching.cancel()
    page = serving.service.metrics.render().decode()
    counted = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    answered = sum(count for (_, status), count in seen.items() if status == 200)
    print(f"\n{sum(seen.values())} requests: {dict(sorted(seen.items()))}; at most {most} places were held of {PLACES}")
    print("answered", answered, "counted", counted['request_success_total{model_name="demo"}'])
    print("tokens", 4 * answered, "counted", counted['generation_tokens_total{model_name="demo"}'])
    for status in sorted({status for _, status in seen}):
        name = f'stoker_http_requests_total{{endpoint="/v1/completions",status="{status}"}}'
        print("status", status, sum(n for (_, s), n in seen.items() if s == status), "counted", counted[name])


async def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chosen = Chosen("p", "emitter", "text", "f32", "u8", "f32", 1, 1, (), 512, 512, 2048, 2)
        settings = EngineSettings("emitter_model:open_emitter", folder, chosen, KvPool(4096, 32, 1))
        replicas = Replicas(
            1, lambda _, heard: Supervisor(python_engine(settings), on_state=heard), Router(1), Patience()
        )
        await replicas.start(Silent())
        rows: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way, processes in WAYS.items():
                serving = Serving(replicas, processes)
                async with serving.running():
                    await speed(serving, 4, 20)
                    rows[way].append(await speed(serving, options.streams, options.tokens))
        print("| API | tokens/s | beside the first | processor seconds for 100,000 tokens |\n|---|---|---|---|")
        first = statistics.median(rate for rate, _ in next(iter(rows.values())))
        for way, figures in rows.items():
            rate, spent = (statistics.median(column) for column in zip(*figures, strict=True))
            print(f"| {way} | {rate:,.0f} | {rate / first:.2f} | {spent:.2f} |", flush=True)
        serving = Serving(replicas, 2, ",".join(KEYS[:2]), limited=True)
        async with serving.running():
            await exact(serving, options.requests)
        await replicas.stop()


def main() -> None:
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("streams", 64), ("tokens", 300), ("rounds", 3), ("requests", 20_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--step-ms", default="10", help="of the engine; 0 for as fast as Triton takes them")
    options = parser.parse_args()
    own = {"PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}", "EMITTER_STEP_MS": options.step_ms}
    os.environ.update({**own, "STOKER_ENGINE_ENVIRONMENT": "EMITTER_STEP_MS"})  # for the engine's process
    uvloop.run(run(options))


if __name__ == "__main__":
    main()
