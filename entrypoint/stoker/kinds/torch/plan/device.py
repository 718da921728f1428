"""On which device, and in which type: what the machine has and the checkpoint is in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.kinds.tensorrt_llm.plan.devices import Pool, pools, take
from stoker.kinds.tensorrt_llm.plan.memory import Split
from stoker.probe.machine import AMD, NVIDIA, Cpu, Gpu, Machine
from stoker.resolve.model import Model
from stoker.resolve.weights import checkpoint_dtype

_BF16_CAPABILITY = (8, 0)
_CDNA_2, _RDNA_1, _RDNA_3 = (9, 0, 10), (10, 0, 0), (11, 0, 0)
_BF16_ISA = ("avx512_bf16", "amx_bf16", "asimd_bf16")
_DTYPES = {"BF16": "bf16", "F16": "f16"}


@dataclass(frozen=True)
class Device:
    """`pool` has free GPUs of one model; None for the CPU. `name` for people."""

    name: str
    cpu: Cpu
    pool: Pool | None = None

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return self.pool.gpus if self.pool else ()

    @property
    def widest(self) -> int:
        """The most ranks that may share a layer: GPUs that reach each other; of a CPU its cores."""
        return self.pool.widest if self.pool else self.cpu.cores

    def taken(self, ranks: int) -> tuple[Gpu, ...]:
        """The GPUs of so many ranks, at most `widest`; none on a CPU."""
        return (take(self.pool, Split(ranks, 1)) or ()) if self.pool else ()

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
        if self.gpus[0].vendor == AMD:
            return _amd_without_bf16(self.gpus[0])
        major, minor = self.gpus[0].compute_capability
        if (major, minor) >= _BF16_CAPABILITY:
            return ""
        return f"{self.name} has compute capability {major}.{minor}, and bf16 needs 8.0"

    def computes_int4(self) -> bool:
        """torchao's int4 kernel is CUDA's, for bf16."""
        return bool(self.gpus) and self.gpus[0].vendor == NVIDIA and not self.computes_bf16()


def _amd_without_bf16(gpu: Gpu) -> str:
    """Matrix units for bf16: CDNA from MI200 (gfx90a) on, RDNA from its third generation (gfx11) on."""
    generation = gfx_version(gpu.architecture)
    if _CDNA_2 <= generation < _RDNA_1 or generation >= _RDNA_3:
        return ""
    return f"{gpu.name} is a {gpu.architecture}, and bf16 needs gfx90a, or gfx11 and later"


def gfx_version(target: str) -> tuple[int, int, int]:
    """gfx90a is 9.0.10: the last two are hexadecimal digits. Zeros for what is no such name."""
    match = re.fullmatch(r"gfx(\d+)([0-9a-f])([0-9a-f])", target)
    return (int(match[1]), int(match[2], 16), int(match[3], 16)) if match else (0, 0, 0)


def devices(machine: Machine) -> Sequence[Device]:
    """Those to try in turn: free GPUs first."""
    found = [Device(pool.name, machine.cpu, pool) for pool in pools(machine)]
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
