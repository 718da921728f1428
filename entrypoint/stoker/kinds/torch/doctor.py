"""What `stoker doctor` looks at for this kind."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.installing import with_extra
from stoker.kinds.torch.vendor import pytorch_vendor
from stoker.probe.checks.check import Check
from stoker.probe.machine import AMD, Machine

ROCM_INDEX = "https://download.pytorch.org/whl/rocmX.Y"


def checks(machine: Machine) -> Iterator[Check]:
    yield from check_amd(machine, pytorch_vendor())


def check_amd(machine: Machine, built_for: str) -> Iterator[Check]:
    """Nothing without a GPU of AMD's. `built_for` is what pytorch_vendor says."""
    if not any(gpu.vendor == AMD for gpu in machine.gpus):
        return
    if built_for == AMD:
        yield Check("PyTorch for AMD", "ok", "a ROCm build")
        return
    found = f"the PyTorch that is installed is for {built_for}" if built_for else "PyTorch is not installed"
    remedy = f"pip install torch --index-url {ROCM_INDEX}, then {with_extra('torch')}: no other kind serves from it"
    yield Check("PyTorch for AMD", "warning", found, remedy)
