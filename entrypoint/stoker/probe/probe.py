"""The first step: what this machine is."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from stoker.probe.amd import probe_amd_gpus
from stoker.probe.cgroup import read_limits
from stoker.probe.cpu import probe_cpu
from stoker.probe.gpu import probe_gpus
from stoker.probe.machine import Cpu, Gpu, Machine


def probe_machine(
    root: Path = Path("/"),
    *,
    affinity: AbstractSet[int] | None = None,
    architecture: str = "",
    environ: Mapping[str, str] | None = None,
    nvml: Any = None,
) -> Machine:
    """What this process may use. Never fails: what could not be read is listed in `notes`.

    For tests, `root` stands for `/`, `affinity` and `architecture` for what the system calls say, and `nvml` for the
    module pynvml.
    """
    limits = read_limits(root)
    cpus = os.sched_getaffinity(0) if affinity is None else affinity
    cpu = probe_cpu(root, cpus, architecture or platform.machine(), limits)
    seen = os.environ if environ is None else environ
    found = probe_gpus(cpu, seen, nvml)
    amd = probe_amd_gpus(root, seen, len(found.gpus))
    gpus = found.gpus + amd.gpus
    return Machine(
        name=_name(cpu, gpus),
        cpu=cpu,
        gpus=gpus,
        driver=found.driver,
        cuda=found.cuda,
        shared_memory=shared_memory(root),
        notes=limits.notes + found.notes + amd.notes,
        p2p_fault=found.p2p_fault,
    )


def shared_memory(root: Path = Path("/")) -> int:
    """Size of /dev/shm in bytes, 0 without one."""
    try:
        status = os.statvfs(root / "dev/shm")
    except OSError:
        return 0
    return status.f_frsize * status.f_blocks


def _name(cpu: Cpu, gpus: tuple[Gpu, ...]) -> str:
    """`2x NVIDIA H200`, or the processor. Not the host's name, so that a plan can be passed on."""
    names = [gpu.name for gpu in gpus]
    counted = [f"{names.count(name)}x {name}" for name in dict.fromkeys(names)]
    return ", ".join(counted) or f"{cpu.name}, {cpu.cores} core{'s' if cpu.cores > 1 else ''}"
