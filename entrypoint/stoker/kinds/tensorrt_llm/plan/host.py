"""What building an engine takes of the host, and whether it has that."""

from __future__ import annotations

from stoker.kinds.tensorrt_llm.plan.catalogue import Kind
from stoker.plan.units import size_text
from stoker.probe.machine import Machine
from stoker.resolve.model import Model


def too_little_memory(kind: Kind, machine: Machine, model: Model) -> str:
    """Why this host cannot build it; empty where it can, or where its memory is not known."""
    needed = max(int(kind.host.memory_refused * model.source_bytes), kind.host.memory_least)
    if not machine.host_known or machine.host_memory >= needed:
        return ""
    return (
        f"building {kind.name} takes at least {size_text(needed)} of host memory "
        f"({kind.host.memory_refused:g} times the weights), and {size_text(machine.host_memory)} is available"
    )


def memory_enough(kind: Kind, model: Model) -> int:
    """Bytes of host memory that a build certainly gets along with."""
    return max(int(kind.host.memory_enough * model.source_bytes), kind.host.memory_least)


def ranks_at_once(kind: Kind, machine: Machine, model: Model, ranks: int) -> int:
    """How many ranks' engines may be made side by side: each holds its share of the weights, times `memory_enough`."""
    share = max(memory_enough(kind, model) // ranks, 1)
    return max(1, min(ranks, machine.host_memory // share))


def host_line(kind: Kind, machine: Machine, model: Model) -> str:
    weights = model.source_bytes
    enough = memory_enough(kind, model)
    disk = int(kind.host.disk * weights)
    line = f"the build needs about {size_text(enough)} of host memory and {size_text(disk)} of disk"
    if not machine.host_known:
        return f"{line} (not checked: the host is not described)"
    if machine.host_memory < enough:
        return f"{line}; only {size_text(machine.host_memory)} is available, which may be too little"
    return line


def driver_line(kind: Kind, machine: Machine) -> str:
    """A warning where the driver is older than the image's; empty where it is not, or is not known."""
    if not machine.driver or _version(machine.driver) >= _version(kind.image.driver):
        return ""
    return (
        f"driver {machine.driver} is older than the {kind.image.driver} that {kind.image.release}'s image is made for: "
        "data-centre GPUs may run it by CUDA's forward compatibility, others need a newer driver"
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
