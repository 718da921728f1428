"""GPUs and their drivers, as the probe found them."""

from __future__ import annotations

from pathlib import Path

from stoker.probe.checks.check import Check, sized
from stoker.probe.machine import NVIDIA, Gpu, Machine


def check_gpu(machine: Machine, root: Path = Path("/")) -> Check:
    """None is well. Device nodes without the driver's library are a container without NVIDIA's toolkit."""
    name = "GPU"
    if machine.gpus:
        return Check(name, "ok", "; ".join([*map(_shown, machine.gpus), *_driver(machine)]))
    why = next((note for note in machine.notes if "GPU" in note or "VISIBLE_DEVICES" in note), "no NVIDIA GPU")
    if machine.driver:
        return Check(name, "warning", f"driver {machine.driver}, but no GPU to use: {why}", "see the reason given")
    nodes = sorted(path.name for path in (root / "dev").glob("nvidia[0-9]*"))
    if nodes:
        remedy = "install the NVIDIA Container Toolkit on the host and start with docker run --gpus all"
        return Check(name, "failed", f"/dev/{nodes[0]} is here, but: {why}", remedy)
    if (root / "proc/driver/nvidia/version").exists():
        remedy = "in a container, start with docker run --gpus all; else reinstall the driver's libraries"
        return Check(name, "warning", f"the kernel has the driver, but: {why}", remedy)
    return Check(name, "ok", "none: the CPU engine is used")


def _driver(machine: Machine) -> list[str]:
    if all(gpu.vendor != NVIDIA for gpu in machine.gpus):
        return []
    return [f"driver {machine.driver or 'unknown'}, CUDA {machine.cuda or 'unknown'}"]


def _shown(gpu: Gpu) -> str:
    kind = gpu.architecture or f"SM {'.'.join(map(str, gpu.compute_capability))}"
    memory = f"{sized(gpu.memory_free)} free of {sized(gpu.memory_total)}" if gpu.memory_total else "memory unknown"
    return f"{gpu.index}: {gpu.name}, {kind}, {memory}"
