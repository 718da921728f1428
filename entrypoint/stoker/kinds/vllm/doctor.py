"""What `stoker doctor` looks at for this kind."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.errors import BuildError
from stoker.kinds.vllm.runtime.process import package_folders
from stoker.probe.checks.check import Check
from stoker.probe.checks.nvidia import has_nvidia
from stoker.probe.machine import NVIDIA, Machine


def checks(machine: Machine) -> Iterator[Check]:
    """Whether there is a Python that has vLLM."""
    if not has_nvidia(machine):
        return
    try:
        folders = package_folders()
    except BuildError as error:
        yield Check("vLLM", "warning", f"not installed: {error.why}", str(error.remedy))
    else:
        yield Check("vLLM", "ok", f"installed in {folders[0]}" if folders else "installed")


def gpu_vendors() -> tuple[str, ...]:
    """Also where it is not installed: the planner then says why NVIDIA's GPUs stay unused."""
    return (NVIDIA,)
