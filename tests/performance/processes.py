"""The processes that are measured: our server, the engine driven directly, and the baselines."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORK = ROOT / ".cache" / "performance"
BASELINE = WORK / "baseline"
BASELINE_PACKAGES = ("torch==2.13.0", "transformers==5.5.*", "huggingface-hub<1.22", "nncf==3.4.0")
BASELINE_MORE = ("openvino==2026.4.1", "openvino-tokenizers", "numpy<2", "safetensors", "setuptools", "requests")


@dataclass(frozen=True)
class Served:
    url: str
    seconds_to_ready: float


@contextlib.contextmanager
def served(model: Path | str, cache: Path, *flags: str, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """Our server, from the command line to ready; stopped afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "stoker", "serve", str(model), "--cache", str(cache), "--port", str(port), *flags]
    began = time.perf_counter()
    with (WORK / "server.log").open("a") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **(environment or {})})
    try:
        url = f"http://127.0.0.1:{port}"
        if not becomes_ready(f"{url}/v1/health/ready", process):
            raise SystemExit(f"the server ended with {process.returncode}; see {WORK / 'server.log'}")
        yield Served(url, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def becomes_ready(url: str, process: subprocess.Popen, seconds: float = math.inf) -> bool:
    """Whether `url` answers 200 in time, and before the process ends."""
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return True
        time.sleep(0.02)
    return False


def http_load(url: str, model: str, streams: int, prompt_tokens: int, new_tokens: int) -> dict:
    numbers = [str(number) for number in (streams, prompt_tokens, new_tokens)]
    return json.loads(output([sys.executable, str(HERE / "http_load.py"), url, model, *numbers]))


class Direct:
    """The engine in a process of its own, warm, measured on demand."""

    def __init__(self, settings_file: Path, prompt_tokens: int, new_tokens: int) -> None:
        command = [sys.executable, str(HERE / "direct.py"), str(settings_file), str(prompt_tokens), str(new_tokens)]
        began = time.perf_counter()
        huge_pages = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # as the served engine has them
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=huge_pages
        )
        assert self._process.stdin
        assert self._process.stdout
        self._input, self._output = self._process.stdin, self._process.stdout
        if self._output.readline().strip() != "ready":
            raise SystemExit("the engine could not be driven directly")
        self.seconds_to_ready = time.perf_counter() - began

    def measure(self, streams: int) -> dict:
        self._input.write(f"{streams}\n")
        self._input.flush()
        return json.loads(self._output.readline())

    def close(self) -> None:
        self._input.close()
        self._process.wait(60)


def baseline_python() -> Path:
    """An environment with PyTorch, transformers and optimum-intel, made once; None of it is the product's."""
    python = BASELINE / "bin" / "python"
    if not (BASELINE / ".complete").exists():
        shutil.rmtree(BASELINE, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(BASELINE)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *BASELINE_PACKAGES, *BASELINE_MORE], check=True)
        # optimum-intel asks for torchvision, which exporting a text model does not use.
        subprocess.run([*pip, "--no-deps", "optimum-intel==2.2.0", "optimum==2.3.0"], check=True)
        (BASELINE / ".complete").touch()
    return python


def torch_generate(model: Path, dtype: str, streams: int, prompt_tokens: int, new_tokens: int) -> dict:
    numbers = [str(number) for number in (streams, prompt_tokens, new_tokens)]
    return json.loads(output([str(baseline_python()), str(HERE / "torch_generate.py"), str(model), dtype, *numbers]))


def optimum_export(model: Path) -> float:
    """Seconds that optimum-cli needs for the int8 model alone, nothing loaded or served."""
    target = WORK / "optimum"
    shutil.rmtree(target, ignore_errors=True)
    command = [str(baseline_python().parent / "optimum-cli"), "export", "openvino", "-m", str(model)]
    command += ["--task", "text-generation-with-past", "--weight-format", "int8", str(target)]
    began = time.perf_counter()
    output(command)
    return time.perf_counter() - began


def output(command: list[str]) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if answer.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{answer.stdout[-2000:]}\n{answer.stderr[-4000:]}")
    return answer.stdout.strip().splitlines()[-1] if answer.stdout.strip() else ""
