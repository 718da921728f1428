"""On which device, and in which type: what the machine has and the checkpoint is in."""

from __future__ import annotations

import re

from stoker.plan.devices import Place
from stoker.probe.machine import AMD, NVIDIA, Gpu
from stoker.resolve.model import Model
from stoker.resolve.weights import checkpoint_dtype

_BF16_CAPABILITY = (8, 0)
_CDNA_2, _RDNA_1, _RDNA_3 = (9, 0, 10), (10, 0, 0), (11, 0, 0)
_BF16_ISA = ("avx512_bf16", "amx_bf16", "asimd_bf16")
_DTYPES = {"BF16": "bf16", "F16": "f16"}


def lacks_bf16(place: Place) -> str:
    """Why the place does not compute in bf16; empty where it does."""
    if not place.gpus:
        return "" if set(_BF16_ISA) & set(place.cpu.isa) else f"the processor has none of {', '.join(_BF16_ISA)}"
    if place.device == AMD:
        return _amd_without_bf16(place.gpus[0])
    major, minor = place.gpus[0].compute_capability
    if (major, minor) >= _BF16_CAPABILITY:
        return ""
    return f"{place.name} has compute capability {major}.{minor}, and bf16 needs 8.0"


def computes_int4(place: Place) -> bool:
    """torchao's int4 kernel is CUDA's, for bf16."""
    return place.device == NVIDIA and not lacks_bf16(place)


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


def native_dtype(model: Model) -> str:
    return _DTYPES.get(checkpoint_dtype(model.config), "f32")


def computed_dtype(place: Place, model: Model) -> tuple[str, str]:
    """The type to compute in where the user asks for none, and why it is not the checkpoint's own, if it is not."""
    own, lacking = native_dtype(model), lacks_bf16(place)
    if place.gpus:
        return ("f16", lacking) if own == "bf16" and lacking else (own, "")
    if own == "bf16" and not lacking:
        return "bf16", ""
    return "f32", lacking if own == "bf16" else "16-bit floats are slow on a CPU" if own == "f16" else ""
