"""What keeps engines from running well on a machine that has NVIDIA's GPUs."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stoker.probe.checks.check import Check, sized
from stoker.probe.machine import NVIDIA, Machine

# NCCL and Triton's Python backend; NVIDIA's images ask for as much.
LEAST_SHARED_MEMORY = 1 << 30
_LEAST_LOCKED = 1 << 30


def check_nvidia(machine: Machine, root: Path = Path("/")) -> Iterator[Check]:
    """Nothing without a GPU. Drivers are compared by the kinds, each of which wants its own."""
    if not has_nvidia(machine):
        return
    machine = replace(machine, gpus=tuple(gpu for gpu in machine.gpus if gpu.vendor == NVIDIA))
    yield check_memory_lock(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
    yield check_peers(machine, root)
    yield check_persistence(machine)
    yield check_mig(machine)


def has_nvidia(machine: Machine) -> bool:
    """Also where MIG is on and no instance is given to this process."""
    return any(gpu.vendor == NVIDIA for gpu in machine.gpus) or "MIG is on" in " ".join(machine.notes)


def check_driver(machine: Machine, driver: str, cuda: str) -> Check:
    """Within a CUDA major version a program runs on any of its drivers (CUDA compatibility guide); beyond it only on
    data-centre GPUs, with the forward-compatibility package. `driver` and `cuda` are the versions that the engine's
    image is made for."""
    found = f"{machine.driver or 'unknown'} for CUDA {machine.cuda or 'unknown'}"
    remedy = f"install driver {driver} or newer on the host"
    if not machine.driver or version(machine.driver) >= version(driver):
        return Check("driver", "ok", found)
    wanted = f"{found}; the image is made for {driver} and CUDA {cuda}"
    if machine.cuda and version(machine.cuda)[0] < version(cuda)[0]:
        more = "; data-centre GPUs may do with the package cuda-compat in the container"
        return Check("driver", "failed", f"{wanted}: too old", remedy + more)
    return Check("driver", "warning", wanted, f"{remedy} if an engine fails to build or to load")


def version(text: str) -> tuple[int, ...]:
    """Major and minor."""
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def check_memory_lock(limit: int) -> Check:
    """`limit` in bytes. CUDA pins host memory for what it copies."""
    if limit == resource.RLIM_INFINITY or limit >= _LEAST_LOCKED:
        return Check("locked memory", "ok", "unlimited" if limit == resource.RLIM_INFINITY else sized(limit))
    remedy = "docker run --ulimit memlock=-1 --ulimit stack=67108864"
    return Check("locked memory", "warning", f"at most {sized(limit)} can be pinned", remedy)


def check_peers(machine: Machine, root: Path = Path("/")) -> Check:
    """Without P2P the GPUs of one engine talk through host memory, or hang where NCCL trusts what the driver says."""
    whole = [gpu for gpu in machine.gpus if not gpu.is_mig]
    if len(whole) < 2:
        return Check("GPU peers", "ok", "one GPU alone" if whole else "MIG instances, which have none")
    if not machine.p2p_fault:
        linked = sum(bool(gpu.nvlink_peers) for gpu in whole)
        return Check("GPU peers", "ok", f"{linked} of {len(whole)} GPUs have NVLink, and none is cut off")
    found = f"GPUs cannot read each other's memory: {machine.p2p_fault}"
    return Check("GPU peers", "warning", found, _peer_remedy(machine.p2p_fault, root))


def _peer_remedy(fault: str, root: Path) -> str:
    slow = "tensor parallelism works through host memory meanwhile, slowly; NCCL_P2P_DISABLE=1 if it hangs"
    if "GPUs" in fault:
        return slow
    iommus = root / "sys/class/iommu"
    cause = "the IOMMU is on" if iommus.is_dir() and any(iommus.iterdir()) else "most likely the IOMMU or PCIe ACS"
    return f"{cause}: boot with iommu=pt and turn ACS off (BIOS, or setpci on the bridges); {slow}"


def check_persistence(machine: Machine) -> Check:
    off = [str(gpu.index) for gpu in machine.gpus if gpu.persistence is False]
    if not off:
        return Check("persistence mode", "ok", "on, or not reported")
    remedy = "nvidia-smi -pm 1, or run nvidia-persistenced: else the driver is loaded anew for each start"
    return Check("persistence mode", "warning", f"off on GPU {', '.join(off)}", remedy)


def check_mig(machine: Machine) -> Check:
    instances = [gpu for gpu in machine.gpus if gpu.is_mig]
    remedy = "for the whole GPU: nvidia-smi -mig 0"
    if instances:
        found = f"on: {len(instances)} instances, of which an engine can use one alone"
        return Check("MIG", "warning", found, remedy)
    note = next((note for note in machine.notes if "MIG is on" in note), "")
    if note:
        return Check("MIG", "warning", note, f"give the container an instance, or {remedy}")
    return Check("MIG", "ok", "off")
