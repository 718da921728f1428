"""What keeps PyTorch from running on a machine that has AMD GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.probe.checks.check import Check
from stoker.probe.machine import AMD, Machine

ROCM_INDEX = "https://download.pytorch.org/whl/rocmX.Y"


def check_amd(machine: Machine, built_for: str) -> Iterator[Check]:
    """Nothing without a GPU of AMD's, seen or shut away. `built_for` is what pytorch_vendor says."""
    shut = next((note for note in machine.notes if note.startswith("no AMD GPU")), "")
    if shut:
        remedy = (
            "docker run --device /dev/kfd --device /dev/dri --group-add render; on a host: usermod -aG render,video"
        )
        yield Check("AMD GPU", "warning", shut, remedy)
    if not any(gpu.vendor == AMD for gpu in machine.gpus):
        return
    if built_for == AMD:
        yield Check("PyTorch for AMD", "ok", "a ROCm build")
        return
    found = f"the PyTorch that is installed is for {built_for}" if built_for else "PyTorch is not installed"
    remedy = (
        f"pip install torch --index-url {ROCM_INDEX}, then pip install 'stoker[torch]': no other kind serves from it"
    )
    yield Check("PyTorch for AMD", "warning", found, remedy)
