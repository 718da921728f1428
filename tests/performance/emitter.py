"""The API's own cost: an engine that emits tokens as fast as Triton takes them, through HTTP and through bare gRPC.

`python emitter.py serve` runs Triton with that engine and our API in front, and prints where both listen.
`python emitter.py grpc ADDRESS STREAMS TOKENS` is the bare client: one gRPC stream a request, ids counted and dropped.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
STREAMS, TOKENS, PROMPT = 16, 1900, 8


def measure_api_cost(medians: Callable[..., tuple[float, float]]) -> tuple[float, float]:
    """Tokens per second through our API, and for the bare gRPC client of the same Triton."""
    from processes import http_load

    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, str(HERE / "emitter.py"), "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout
        assert server.stdin
        where = json.loads(server.stdout.readline())

        def ours() -> float:
            result = http_load(where["url"], "demo", STREAMS, PROMPT, TOKENS)
            return result["tokens"] / result["seconds"]

        def theirs() -> float:
            arguments = ["grpc", where["grpc"], str(STREAMS), str(TOKENS)]
            answer = subprocess.run([*command[:2], *arguments], capture_output=True, text=True, check=True)
            result = json.loads(answer.stdout)
            return result["tokens"] / result["seconds"]

        medians(ours, theirs, 1)  # warms both
        figures = medians(ours, theirs, 5)
        server.stdin.close()
    return figures


def leave_out_channel() -> None:
    """The client is told that the model takes no multiplexed stream: each request then has a call of its own."""
    from stoker.launch import contract
    from stoker.launch.connection import Connection

    ask = Connection.ask_inputs

    async def others(connection: Connection) -> Mapping[str, str]:
        return {name: wire_type for name, wire_type in (await ask(connection)).items() if name != contract.CHANNEL}

    setattr(Connection, "ask_inputs", others)  # noqa: B010 - mypy lets nobody assign to a method


async def serve() -> None:
    from stoker.kinds.openvino.runtime.engine import python_engine
    from stoker.launch.capabilities import Capabilities
    from stoker.launch.settings import EngineSettings
    from stoker.launch.supervisor import Supervisor
    from stoker.plan.types import Chosen, KvPool
    from stoker.resolve.local import DEMO_DIRECTORY
    from stoker.serve.http.app import Service, create_app
    from stoker.serve.http.server import HttpServer, bind
    from stoker.serve.operate.frontend import load_frontend
    from stoker.store.engine import Engine, Manifest

    with tempfile.TemporaryDirectory() as folder:
        chosen = Chosen("p", "emitter", "text", "f32", "u8", "f32", 1, 1, (), 256, 256, 2048, 2)
        settings = EngineSettings("emitter_model:open_emitter", folder, chosen, KvPool(4096, 32, 1))
        supervisor, service = Supervisor(python_engine(settings)), Service()
        if os.environ.get("EMITTER_ALONE"):
            leave_out_channel()
        await supervisor.start()
        manifest = Manifest(1, "emitter", "emitter", "demo", "", {"max_seq_len": 2048}, {}, {})
        service.lifecycle.attach(
            supervisor.client, load_frontend(Engine(DEMO_DIRECTORY, manifest), Capabilities(frozenset(), False))
        )
        server = HttpServer(create_app(service), bind("127.0.0.1", 0))
        running = asyncio.ensure_future(server.serve())
        print(json.dumps({"url": f"http://127.0.0.1:{server.port}", "grpc": supervisor.address}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await supervisor.stop()
        await server.stop()
        await running


async def bare_client(address: str, streams: int, tokens: int) -> dict:
    import grpc
    from tritonclient.grpc import service_pb2_grpc

    from stoker.launch.generation import Generation
    from stoker.launch.messages import encode_request

    async def one(number: int) -> int:
        call = stub.ModelStreamInfer()
        await call.write(encode_request(Generation(str(number), range(2, 2 + PROMPT), tokens), str(number)))
        await call.done_writing()
        count = 0
        async for message in call:
            response = message.infer_response
            for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
                if output.name == "output_ids":
                    count += len(raw) // 4
        return count

    async with grpc.aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        began = time.perf_counter()
        counts = await asyncio.gather(*(one(number) for number in range(streams)))
        return {"tokens": sum(counts), "seconds": time.perf_counter() - began}


def main() -> None:
    import uvloop

    if sys.argv[1] == "serve":
        uvloop.run(serve())
    else:
        print(json.dumps(uvloop.run(bare_client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))))


if __name__ == "__main__":
    main()
