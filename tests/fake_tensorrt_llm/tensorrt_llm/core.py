"""What both interfaces share: sequences that gain one token per step, ranks, and the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def token(prompt_sum: int, position: int) -> int:
    """What is generated: ids 5 to 204, which every vocabulary has."""
    return (prompt_sum + 31 * position) % 200 + 5


def log(**entry: Any) -> None:
    if place := os.environ.get("FAKE_TENSORRT_LLM_LOG"):
        with Path(place).open("a") as file:
            file.write(json.dumps(entry, default=repr) + "\n")


class Sequence_:
    """`reason` is "", "end", "stop", "length" or "cancelled"."""

    def __init__(
        self, prompt: Sequence[int], limit: int, end: int, stops: Sequence[int], tell: Callable[[Sequence_], None]
    ) -> None:
        self.sum, self.limit, self.end, self.stops, self.tell = sum(prompt), limit, end, tuple(stops), tell
        self.ids: list[int] = []
        self.reason = ""
        self.cancelled = False
        self.reused = 0
        self.favourite: int | None = None

    def step(self) -> None:
        if self.cancelled:
            self.reason = "cancelled"
        else:
            self.ids.append(token(self.sum, len(self.ids)) if self.favourite is None else self.favourite)
            self.reason = self._reason(self.ids[-1])
        self.tell(self)

    def bias(self, embedding_bias: Any, vocabulary: int) -> None:
        """`embedding_bias`: a torch.Tensor. A bias of 100 is more than anything that the model may want."""
        if embedding_bias is None:
            return
        if tuple(embedding_bias.shape) != (vocabulary,):
            raise RuntimeError(f"embedding_bias is of shape {embedding_bias.shape}, not [{vocabulary}]")
        values = embedding_bias.tolist()
        self.favourite = values.index(100.0) if 100.0 in values else None

    def _reason(self, last: int) -> str:
        if last == self.end:
            return "end"
        return "stop" if last in self.stops else "length" if len(self.ids) >= self.limit else ""


class Core:
    """At most `batch` concurrent sequences; the others wait."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.lock = threading.Lock()
        self.sequences: list[Sequence_] = []
        self.seen: set[tuple[int, ...]] = set()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def add(self, sequence: Sequence_) -> None:
        with self.lock:
            self.sequences.append(sequence)

    def reused_blocks(self, prompt: Sequence[int]) -> int:
        """Of 32 tokens, and only whole ones."""
        blocks = [tuple(prompt[:end]) for end in range(32, len(prompt) + 1, 32)]
        reused = sum(block in self.seen for block in blocks)
        self.seen.update(blocks)
        return reused

    def _run(self) -> None:
        step = float(os.environ.get("FAKE_TENSORRT_LLM_STEP", "0.002"))
        while not self.stopped.wait(step):
            with self.lock:
                for each in self.sequences[: self.batch]:
                    each.step()
                self.sequences = [each for each in self.sequences if not each.reason]

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()


def visible_gpus() -> int:
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    return 8 if devices is None else len([each for each in devices.split(",") if each])


class Ranks:
    """A process for each rank, as MPI starts them: of `sys.executable`, running the main module again if it has one."""

    def __init__(self, count: int) -> None:
        if count > visible_gpus():
            raise RuntimeError(f"Only {visible_gpus()} GPUs are available, but {count} are required.")
        self.processes = [self._start(rank) for rank in range(count)] if count > 1 else []
        for process in self.processes:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("a worker ran the parent's main module to its end: it has no __main__ guard")

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        main = getattr(sys.modules["__main__"], "__file__", None)
        command = [sys.executable, str(Path(__file__).with_name("rank.py")), str(rank), main or ""]
        log(rank=rank, main=main)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
