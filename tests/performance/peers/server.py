"""Peers as the servers that they come with: kept running, and measured one at a time by the same client."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.performance.peers.peer import OURS, STORED, Load, Peer
from tests.performance.peers.prepared import CACHE, engine, gguf
from tests.performance.processes import HERE, becomes_ready
from tests.ports import free_port

from stoker.bench.memory import server_memory
from stoker.launch.settings import EngineSettings
from stoker.processes import family

WARM_UP: Sequence[Load] = ((1, 8, 4), (2, 16, 4), (1, 200, 4), (4, 33, 4))  # as of peers that are driven directly
STARTING, MEASURING, ENDING = 600.0, 300.0, 30.0
"""Seconds, after which a server has failed."""
SETTLING = 0.8
"""Seconds after a load: vLLM's worker polls for one before it sleeps."""


class Server:
    """It idles while others are measured. None may be stopped meanwhile: ours would take that for a stuck engine."""

    def __init__(self, peer: Peer, model: str, log: Path) -> None:
        self.peer, self.version, self.why, self._model, self._log = peer, peer.version, "", model, log
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        began = time.perf_counter()
        with log.open("a") as output:  # a session for each: Linux shares the processor among sessions first
            command = [*peer.command, "--port", str(port)]
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, env=peer.environment(), start_new_session=True
            )
        try:
            ready = self._wait_ready()
            self.load = time.perf_counter() - began
            self._warm_up(ready)
        except BaseException:
            self.close()
            raise

    def _warm_up(self, ready: bool) -> None:
        if not ready or not all(math.isfinite(self._measure(load, seed=place)) for place, load in enumerate(WARM_UP)):
            self.why = f"it did not start, see {self._log.name}"
        self.version = self.version or self._reported_version()

    def _wait_ready(self) -> bool:
        path = "/v1/health/ready" if self.peer.ours else "/health"
        return becomes_ready(self._url + path, self._process, STARTING)

    def _reported_version(self) -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self._url}/version", timeout=5) as answer:
            return f"vLLM {json.load(answer)['version']}"
        return ""

    def _measure(self, load: Load, seed: int) -> float:
        streams, prompt, new = load
        command = [sys.executable, str(HERE / "http_load.py"), self._url, self._model]
        command += map(str, (streams, prompt, new, 2000, seed))
        with self._log.open("a") as errors, contextlib.suppress(subprocess.SubprocessError):
            answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, timeout=MEASURING, check=True)
            found = json.loads(answer.stdout)
            if found["tokens"] == streams * new:
                return float(found["first"] if new == 1 else found["seconds"])
        return math.inf

    def seconds(self, load: Load, seed: int) -> float:
        found = self._measure(load, seed)
        time.sleep(SETTLING)
        return found

    def resident(self) -> float:
        """Of all its processes together; what they share counts for each."""
        return server_memory(self._process.pid, 0).server_peak / 2**30

    def close(self) -> None:
        members = family(self._process.pid)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        for pid in members if self._process.poll() is None else ():
            _send(pid, signal.SIGKILL)
        self._process.wait()


def _send(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


def served_peers(model: Path, llama_server: str, llama: str, vllm: str) -> Iterator[Peer]:
    """`llama_server`: llama.cpp's server; `llama` and `vllm`: Pythons of environments. Empty where there is none."""
    for one in OURS:
        computed = EngineSettings.read(engine(model, one)).chosen.activation_precision
        command = [sys.executable, "-m", "stoker", "serve", str(model), "--cache", str(CACHE), "--precision", one]
        named = f"OpenVINO GenAI {version('openvino-genai')}, kernels in {computed}"
        yield Peer("Stoker", one, command, version=named)
    for one in STORED if llama_server else ():
        yield _llama(llama_server, gguf(llama, model, one.lower()), one)
    if vllm:
        yield _vllm(vllm, model)


def _llama(program: str, file: Path, stored: str) -> Peer:
    """With one KV cache for all sequences, of which each would otherwise have a 32nd, and no prompts kept.

    The likeliest token alone is the cheapest of its samplers.
    """
    threads = str(len(os.sched_getaffinity(0)))
    command = [program, "-m", str(file), "--threads", threads, "--parallel", "32", "--cont-batching", "--kv-unified"]
    command += ["-c", "16384", "-b", "2048", "--no-cache-prompt", "--cache-ram", "0"]
    command += ["--samplers", "top_k", "--top-k", "1"]
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    lines = (printed.stdout + printed.stderr).splitlines()
    number = next((line.split()[1] for line in lines if line.startswith("version:")), "of an unknown version")
    return Peer("llama.cpp", stored, command, version=f"llama-server {number}")


def _vllm(python: str, model: Path) -> Peer:
    """With Intel's OpenMP where its environment has it, as vLLM's documentation recommends, and with threads on all
    cores: on its own it leaves one to its scheduler, which is half of two."""
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", model.name, "--dtype", "bfloat16", "--max-model-len", "2048"]
    command += ["--max-num-seqs", "32", "--disable-log-stats", "--host", "127.0.0.1"]
    variables = {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_USE_AOT_COMPILE": "0",  # vLLM 0.32 cannot load what it kept, and compiles at each start
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
    }
    if (openmp := Path(python).parents[1] / "lib" / "libiomp5.so").exists():
        variables["LD_PRELOAD"] = str(openmp)
    return Peer("vLLM CPU", "bf16", command, variables)
