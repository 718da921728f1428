"""AMD GPUs, by what the kernel's amdgpu driver shows in /sys: no library of AMD's is needed.

The topology of its compute part (/sys/class/kfd/kfd/topology, `kfd_topology.c`) has a node for each GPU: the target
that its kernels are compiled for, memory banks, links. The graphics part (/sys/class/drm/renderDN/device) has what
memory is used and the product's name. In a container, properties of GPUs that it was not given cannot be read.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.probe.gpu import FoundGpus
from stoker.probe.machine import AMD, Gpu
from stoker.probe.visible_devices import Candidate, select_for_hip

_NODES = "sys/class/kfd/kfd/topology/nodes"
_ENTRANCE = "dev/kfd"
_FRAME_BUFFERS = (1, 2)  # heap types HSA_HEAPTYPE_FRAME_BUFFER_PUBLIC and _PRIVATE
_XGMI = 11  # HSA_IOLINK_TYPE_XGMI
_VENDOR = 0x1002


@dataclass(frozen=True)
class _Node:
    """A GPU's node: its number in the topology, its properties, and the folder of the graphics part's device."""

    number: int
    path: Path
    properties: Mapping[str, int]
    device: Path
    render: str


def probe_amd_gpus(root: Path, environ: Mapping[str, str], first: int = 0) -> FoundGpus:
    """The GPUs that a HIP program started with `environ` may use, in its order, counted from `first`."""
    nodes = list(_gpu_nodes(root))
    if not nodes:
        return FoundGpus()
    if not os.access(root / _ENTRANCE, os.R_OK | os.W_OK):
        return FoundGpus(notes=(_why_shut(root),))
    names = _names(nodes)
    candidates = [Candidate(name, place, name) for place, name in enumerate(names)]
    chosen, notes = select_for_hip(candidates, environ, alone=first == 0)
    absent = [nodes[place] for place in chosen if not (root / "dev/dri" / nodes[place].render).exists()]
    notes += [f"AMD GPU {node.number} is left out: /dev/dri/{node.render} is not here" for node in absent]
    visible = [place for place in chosen if nodes[place] not in absent]
    numbers = {nodes[place].number: first + index for index, place in enumerate(visible)}
    gpus = [_gpu(nodes[place], names[place], numbers) for place in visible]
    return FoundGpus(tuple(replace(gpu, index=first + index) for index, gpu in enumerate(gpus)), notes=tuple(notes))


def _why_shut(root: Path) -> str:
    if (root / _ENTRANCE).exists():
        return "no AMD GPU: no permission to use /dev/kfd (its group is render)"
    return "no AMD GPU: /dev/kfd is not here (in a container: --device /dev/kfd --device /dev/dri)"


def _gpu_nodes(root: Path) -> Iterator[_Node]:
    """Those whose properties may be read, in the order in which ROCm's runtime counts them."""
    folders = [path for path in (root / _NODES).glob("*") if path.name.isdigit()]
    for path in sorted(folders, key=lambda path: int(path.name)):
        properties = _properties(path / "properties")
        if properties.get("simd_count") and properties.get("vendor_id", _VENDOR) == _VENDOR:
            render = f"renderD{properties.get('drm_render_minor', 0)}"
            yield _Node(int(path.name), path, properties, root / "sys/class/drm" / render / "device", render)


def _names(nodes: Sequence[_Node]) -> list[str]:
    """What ROCR_VISIBLE_DEVICES calls each: by its unique id, or by its place where it has none of its own."""
    ids = [node.properties.get("unique_id", 0) for node in nodes]
    alone = Counter(ids)
    return [f"GPU-{own:016x}" if own and alone[own] == 1 else str(place) for place, own in enumerate(ids)]


def _gpu(node: _Node, name: str, numbers: Mapping[int, int]) -> Gpu:
    """`numbers`: indices of the visible GPUs by their node."""
    target = gfx_name(node.properties.get("gfx_target_version", 0))
    total = _whole(node.device / "mem_info_vram_total") or _frame_buffers(node)
    return Gpu(
        index=0,
        uuid=name,
        name=_text(node.device / "product_name") or f"AMD {target}",
        pci_bus_id=_pci_address(node.properties),
        memory_total=total,
        memory_free=max(0, total - _whole(node.device / "mem_info_vram_used")),
        compute_capability=(0, 0),
        nvlink_peers=tuple(sorted(numbers[other] for other in _linked(node) if other in numbers)),
        vendor=AMD,
        architecture=target,
    )


def gfx_name(version: int) -> str:
    """90402 is 9.4.2, gfx942: minor and stepping are digits of a hexadecimal number."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _frame_buffers(node: _Node) -> int:
    banks = (_properties(path) for path in node.path.glob("mem_banks/*/properties"))
    return sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in _FRAME_BUFFERS)


def _linked(node: _Node) -> set[int]:
    """Nodes that XGMI joins to this one."""
    links = (_properties(path) for path in node.path.glob("io_links/*/properties"))
    return {link["node_to"] for link in links if link.get("type") == _XGMI and "node_to" in link}


def _pci_address(properties: Mapping[str, int]) -> str:
    """`location_id` is bus, device and function, as the PCI bus has them."""
    place = properties.get("location_id", 0)
    return f"{properties.get('domain', 0):04x}:{place >> 8 & 0xFF:02x}:{place >> 3 & 0x1F:02x}.{place & 7}"


def _properties(path: Path) -> dict[str, int]:
    """Lines of a name and a number; empty where it may not be read."""
    found: dict[str, int] = {}
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        with contextlib.suppress(ValueError):
            found[name] = int(value)
    return found


def _whole(path: Path) -> int:
    with contextlib.suppress(ValueError):
        return int(_text(path))
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
