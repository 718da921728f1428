"""What `stoker doctor` looks at for TensorRT-LLM's kinds, on a machine with NVIDIA's GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.probe.checks.check import Check
from stoker.probe.checks.nvidia import check_driver, has_nvidia
from stoker.probe.machine import NVIDIA, Machine


def checks(machine: Machine) -> Iterator[Check]:
    """Whether the driver suits what the image is made for."""
    if has_nvidia(machine):
        image = load_nvidia().kinds["tensorrt_llm"].image
        yield check_driver(machine, image.driver, image.cuda)


def nothing(_: Machine) -> Iterator[Check]:
    """For the kind that shares the image: its driver has been looked at."""
    yield from ()


def gpu_vendors() -> tuple[str, ...]:
    """Also where it is not installed: the planner then says why NVIDIA's GPUs stay unused."""
    return (NVIDIA,)
