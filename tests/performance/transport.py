"""What Triton's Unix socket costs beside loopback TCP: one engine that emits tokens at once, behind either, in turns.

    python tests/performance/transport.py [ROUNDS]

Processor time of both sides per token is what to compare: on a shared machine it varies less than tokens per second.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STREAMS, TOKENS = 16, 1900
TICKS = os.sysconf("SC_CLK_TCK")


def serve(transport: str) -> None:
    """The emitter, its Triton on `unix` or `tcp`."""
    import emitter

    if transport == "tcp":
        from stoker.launch import server

        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        original = server.server_arguments

        def on_tcp(command: server.Command) -> list[str]:
            changes = {"--grpc-address": "127.0.0.1", "--grpc-port": str(port)}
            names = [(line, line.partition("=")[0]) for line in original(command)]
            return [f"{name}={changes[name]}" if name in changes else line for line, name in names]

        server.server_arguments = on_tcp
        server.TritonServer.address = property(lambda _: f"127.0.0.1:{port}")  # type: ignore[assignment]
    sys.argv = ["emitter.py", "serve"]
    emitter.main()


def measured(server: subprocess.Popen[str], address: str) -> tuple[float, float]:
    """Tokens per second, and microseconds of processor time per token."""
    command = [sys.executable, str(HERE / "emitter.py"), "grpc", address, str(STREAMS), str(TOKENS)]
    before = _seconds(server.pid), _children()
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    spent = _seconds(server.pid) - before[0] + _children() - before[1]
    return result["tokens"] / result["seconds"], spent / result["tokens"] * 1e6


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _seconds(pid: int) -> float:
    """Of a process and all below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(map(_seconds, children))


def main(rounds: int) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}"}
    servers: dict[str, Any] = {}
    for transport in ("tcp", "unix"):
        command = [sys.executable, __file__, "serve", transport]
        servers[transport] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
    addresses = {name: json.loads(server.stdout.readline())["grpc"] for name, server in servers.items()}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
    for number in range(rounds + 1):
        for name in sorted(servers, reverse=bool(number % 2)):
            figures = measured(servers[name], addresses[name])
            results[name] += [figures] if number else []  # the first round warms both
    for name, kept in results.items():
        print(f"{name:5} {_median(kept, 0):8,.0f} tokens/s {_median(kept, 1):6.1f} us of processor time per token")
    print(f"ratio {_median(results['unix'], 1) / _median(results['tcp'], 1):.2f} (unix to tcp, processor time)")
    for server in servers.values():
        server.stdin.close()
        server.wait()


def _median(figures: Sequence[tuple[float, float]], column: int) -> float:
    return statistics.median(each[column] for each in figures)


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1:2] == ["serve"] else main(int(sys.argv[1]) if sys.argv[1:] else 12)
