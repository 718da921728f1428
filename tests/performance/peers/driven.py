"""Peers that are driven directly: each a process that loads once, then measures what its standard input says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.performance.peers.peer import OURS, STORED, Load, Peer
from tests.performance.peers.prepared import engine, gguf

from stoker.bench.memory import peak_bytes

HERE = Path(__file__).parent


class Driven:
    def __init__(self, peer: Peer, log: Path) -> None:
        self.peer, self.version, self.why = peer, "", ""
        began = time.perf_counter()
        with log.open("a") as errors:
            self._process = subprocess.Popen(
                peer.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=peer.environment(),
            )
        self._read()
        self.load = time.perf_counter() - began
        self.version = self._read().get("ready", {}).get("version", "")
        self.why = "" if self.version else f"it did not start, see {log.name}"

    def _read(self) -> dict:
        assert self._process.stdout
        text = self._process.stdout.readline()
        return json.loads(text) if text.startswith("{") else {}

    def seconds(self, load: Load, seed: int) -> float:
        assert self._process.stdin
        self._process.stdin.write(" ".join(map(str, (*load, seed))) + "\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def resident(self) -> float:
        return peak_bytes(Path(f"/proc/{self._process.pid}")) / 2**30

    def close(self) -> None:
        """It has nothing to lose."""
        self._process.kill()
        self._process.wait()


def driven_peers(model: Path, llama: str, vllm: str) -> Iterator[Peer]:
    """`llama` and `vllm`: Pythons of their environments, empty without one."""
    for one in OURS:
        yield Peer("Stoker", one, [sys.executable, str(HERE / "ours.py"), str(engine(model, one))])
    for one in STORED if llama else ():
        command = [llama, str(HERE / "llama.py"), str(gguf(llama, model, one.lower()))]
        yield Peer("llama.cpp", one, [*command, str(len(os.sched_getaffinity(0)))])
    if vllm:
        yield Peer("vLLM CPU", "bf16", [vllm, str(HERE / "vllm_cpu.py"), str(model)])
        yield Peer("transformers", "bf16", [vllm, str(HERE / "transformers_generate.py"), str(model)])
