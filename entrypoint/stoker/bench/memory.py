"""What a server's processes took, from proc(5) and NVML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from stoker.bench.types import Memory
from stoker.probe.machine import Gpu, Machine
from stoker.processes import family

_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)


def server_memory(pid: int, gpu_bytes: int, proc: Path = Path("/proc")) -> Memory:
    """Of the process `pid` and everything below it. The engine's process is the largest."""
    peaks = [peak_bytes(proc / str(each)) for each in family(pid, proc)]
    return Memory(engine_peak=max(peaks, default=0), server_peak=sum(peaks), gpu=gpu_bytes)


def peak_bytes(process: Path) -> int:
    """The largest resident size so far; 0 for a process that has just gone."""
    try:
        match = _PEAK.search((process / "status").read_text())
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0


def gpu_bytes_taken(before: Machine, now: Sequence[Gpu]) -> int:
    """What has gone from the free memory of the machine's GPUs. Others' programs count too: measure on idle GPUs."""
    free = {gpu.uuid: gpu.memory_free for gpu in now}
    return sum(max(0, gpu.memory_free - free.get(gpu.uuid, gpu.memory_free)) for gpu in before.gpus)
