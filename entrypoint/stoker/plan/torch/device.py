"""On which device, and in which type: what the machine has and the checkpoint is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.plan.nvidia.devices import pools
from stoker.probe.machine import Cpu, Gpu, Machine
from stoker.resolve.model import Model
from stoker.resolve.weights import checkpoint_dtype

_BF16_CAPABILITY = (8, 0)
_BF16_ISA = ("avx512_bf16", "amx_bf16", "asimd_bf16")
_DTYPES = {"BF16": "bf16", "F16": "f16"}


@dataclass(frozen=True)
class Device:
    """`gpus` are free ones of one model, empty for the CPU. `name` for people."""

    name: str
    cpu: Cpu
    gpus: tuple[Gpu, ...] = ()

    @property
    def place(self) -> str:
        return "gpu" if self.gpus else "cpu"

    @property
    def memory(self) -> int:
        if self.gpus:
            return min(gpu.memory_free for gpu in self.gpus)
        return min(self.cpu.memory_available, self.cpu.memory_limit)

    def computes_bf16(self) -> str:
        """Why not; empty where it does."""
        if not self.gpus:
            return "" if set(_BF16_ISA) & set(self.cpu.isa) else f"the processor has none of {', '.join(_BF16_ISA)}"
        major, minor = self.gpus[0].compute_capability
        if (major, minor) >= _BF16_CAPABILITY:
            return ""
        return f"{self.name} has compute capability {major}.{minor}, and bf16 needs 8.0"

    def computes_int4(self) -> bool:
        """torchao's int4 kernel is CUDA's, for bf16."""
        return bool(self.gpus) and not self.computes_bf16()


def devices(machine: Machine) -> Sequence[Device]:
    """Those to try in turn: free GPUs first."""
    found = [Device(pool.name, machine.cpu, pool.gpus) for pool in pools(machine)]
    return (*found, Device("the CPU", machine.cpu))


def native_dtype(model: Model) -> str:
    return _DTYPES.get(checkpoint_dtype(model.config), "f32")


def computed_dtype(device: Device, model: Model) -> tuple[str, str]:
    """The type to compute in where the user asks for none, and why it is not the checkpoint's own, if it is not."""
    own = native_dtype(model)
    if device.place == "cpu":
        lacking = device.computes_bf16()
        if own == "bf16" and not lacking:
            return "bf16", ""
        return "f32", lacking if own == "bf16" else "16-bit floats are slow on a CPU" if own == "f16" else ""
    lacking = device.computes_bf16() if own == "bf16" else ""
    return ("f16", lacking) if lacking else (own, "")
