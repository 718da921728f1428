"""The amdgpu driver's files as machines that are not here would have them: the kernel's documented interface.

Names and units are those of drivers/gpu/drm/amd/amdkfd/kfd_topology.c (nodes, banks, links), of amdgpu's
mem_info_vram_* and product_name (Documentation/gpu/amdgpu), and of /dev.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

GIB = 1 << 30
NODES = "sys/class/kfd/kfd/topology/nodes"
_PROCESSORS = 2  # nodes without a GPU that come first, one for each socket
_PCIE, _XGMI = 2, 11


@dataclass(frozen=True)
class FakeAmd:
    """`given`: the container was given its render node. `vram_told`: the graphics part tells of the memory."""

    unique_id: int
    target: int = 90402
    product: str = "AMD Instinct MI300X"
    total: int = 192 * GIB
    used: int = 256 << 20
    given: bool = True
    vram_told: bool = True


def amd_files(gpus: Sequence[FakeAmd], *, entrance: bool = True, linked: bool = False) -> dict[str, str]:
    """Path -> text below the root. `entrance`: /dev/kfd is there; `linked`: XGMI joins every GPU to every other."""
    files: dict[str, str] = {"dev/kfd": ""} if entrance else {}
    for number in range(_PROCESSORS):
        files[f"{NODES}/{number}/properties"] = _lines({"cpu_cores_count": 96, "simd_count": 0, "vendor_id": 0})
    for place, gpu in enumerate(gpus):
        files |= _gpu_files(gpu, place)
    pairs = permutations(range(len(gpus)), 2) if linked else ()
    for one, other in pairs:
        link = {"type": _XGMI, "node_from": one + _PROCESSORS, "node_to": other + _PROCESSORS, "weight": 15}
        files[f"{NODES}/{one + _PROCESSORS}/io_links/{other + 1}/properties"] = _lines(link)
    return files


def _gpu_files(gpu: FakeAmd, place: int) -> dict[str, str]:
    number, minor = place + _PROCESSORS, 128 + 8 * place
    node, device = f"{NODES}/{number}", f"sys/class/drm/renderD{minor}/device"
    properties = {
        "cpu_cores_count": 0,
        "simd_count": 1216,
        "mem_banks_count": 1,
        "gfx_target_version": gpu.target,
        "vendor_id": 0x1002,
        "location_id": (0x11 + place) << 8,
        "domain": 0,
        "drm_render_minor": minor,
        "unique_id": gpu.unique_id,
    }
    bank = {"heap_type": 1, "size_in_bytes": gpu.total, "flags": 0, "width": 8192, "mem_clk_max": 1300}
    files = {
        f"{node}/properties": _lines(properties),
        f"{node}/mem_banks/0/properties": _lines(bank),
        f"{node}/io_links/0/properties": _lines({"type": _PCIE, "node_from": number, "node_to": 0, "weight": 20}),
        f"{device}/product_name": f"{gpu.product}\n",
    }
    if gpu.given:
        files[f"dev/dri/renderD{minor}"] = ""
    if gpu.vram_told:
        files |= {f"{device}/mem_info_vram_total": f"{gpu.total}\n", f"{device}/mem_info_vram_used": f"{gpu.used}\n"}
    return files


def _lines(properties: Mapping[str, int]) -> str:
    return "".join(f"{name} {value}\n" for name, value in properties.items())
