"""The processor and the host memory, as this process may use them."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from pathlib import Path

from stoker.probe.cgroup import Limits, whole_cores
from stoker.probe.cpu_list import parse_cpu_list
from stoker.probe.machine import Cpu, Node

# x86 flags of /proc/cpuinfo that an extension needs. "avx512" is what oneDNN calls avx512_core.
_X86_EXTENSIONS: dict[str, tuple[str, ...]] = {
    "avx2": ("avx2", "fma"),
    "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "avx512_vnni": ("avx512f", "avx512_vnni"),
    "avx512_bf16": ("avx512f", "avx512_bf16"),
    "avx_vnni": ("avx2", "avx_vnni"),
    "amx_bf16": ("amx_tile", "amx_bf16"),
    "amx_int8": ("amx_tile", "amx_int8"),
    "amx_fp16": ("amx_tile", "amx_fp16"),
}
# Arm: HWCAP names in the Features line (Documentation/arch/arm64/elf_hwcaps.rst).
_ARM_EXTENSIONS: dict[str, tuple[str, ...]] = {
    "neon": ("asimd",),
    "sve": ("sve",),
    "asimd_bf16": ("asimd", "bf16"),
    "asimd_i8mm": ("asimd", "i8mm"),
}
# Arm's /proc/cpuinfo gives numbers only; names for people, from the cores' reference manuals (MIDR_EL1.PartNum).
_ARM_PARTS = {
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd42": "Cortex-A78AE",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
    "0xd83": "Neoverse-V3AE",
    "0xd84": "Neoverse-V3",
    "0xd85": "Cortex-X925",
    "0xd8e": "Neoverse-N3",
}


def probe_cpu(root: Path, affinity: AbstractSet[int], architecture: str, limits: Limits) -> Cpu:
    """`affinity` holds the CPUs that the scheduler may use, `architecture` is uname's machine."""
    info = _cpu_info(root)
    usable = _usable(affinity, limits)
    total, available = host_memory(root)
    nodes = _nodes(root, usable)
    return Cpu(
        architecture=architecture,
        name=_name(info, architecture),
        cores=_cores(usable, limits),
        core_quota=limits.cores,
        memory_total=total,
        memory_limit=_smallest(total, limits.memory),
        memory_available=_smallest(available, limits.memory_free),
        isa=_isa(info),
        numa_nodes=max(1, len(nodes)),
        physical_cores=len({min(group) for group in _cores_of(root, usable).values()}),
        nodes=nodes,
    )


def _usable(affinity: AbstractSet[int], limits: Limits) -> frozenset[int]:
    """The affinity already lies within the cpuset, except where the process runs in a sandbox that emulates one."""
    cpus = frozenset(affinity)
    return (cpus & limits.cpus or cpus) if limits.cpus else cpus


def _cores(usable: frozenset[int], limits: Limits) -> int:
    cores = max(1, len(usable))
    return cores if limits.cores is None else min(cores, whole_cores(limits.cores))


def _smallest(host: int, limit: int | None) -> int:
    return host if limit is None else min(host, limit)


def _cpu_info(root: Path) -> dict[str, str]:
    """The first processor's block of /proc/cpuinfo."""
    try:
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return {}
    info: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator:
            info.setdefault(key.strip(), value.strip())
    return info


def _isa(info: dict[str, str]) -> tuple[str, ...]:
    x86, arm = set(info.get("flags", "").split()), set(info.get("Features", "").split())
    return tuple(
        extension
        for table, have in ((_X86_EXTENSIONS, x86), (_ARM_EXTENSIONS, arm))
        for extension, needed in table.items()
        if have.issuperset(needed)
    )


def _name(info: dict[str, str], architecture: str) -> str:
    if name := info.get("model name"):
        return " ".join(name.split())
    if part := info.get("CPU part"):
        return _ARM_PARTS.get(part.lower(), f"Arm {info.get('CPU implementer', '?')}/{part}")
    return architecture


def host_memory(root: Path) -> tuple[int, int]:
    """MemTotal and MemAvailable in bytes; 0 where the kernel does not tell."""
    try:
        lines = (root / "proc/meminfo").read_text(errors="replace").splitlines()
    except OSError:
        return 0, 0
    words = {line.partition(":")[0]: line.split() for line in lines}
    sizes = {key: int(word[1]) << 10 for key, word in words.items() if len(word) > 1 and word[1].isdigit()}
    return sizes.get("MemTotal", 0), sizes.get("MemAvailable", sizes.get("MemFree", 0))


def _nodes(root: Path, usable: frozenset[int]) -> tuple[Node, ...]:
    """Nodes with a CPU of ours: memory-only nodes (a GPU's memory on Grace, CXL) do not count. One of all CPUs where
    the kernel tells of none."""
    cores = _cores_of(root, usable)

    def by_core(cpus: frozenset[int]) -> tuple[int, ...]:
        return tuple(sorted(cpus, key=lambda cpu: (min(cores[cpu]), cpu)))

    found = []
    for directory in (root / "sys/devices/system/node").glob("node[0-9]*"):
        if own := _cpus_in(directory / "cpulist") & usable:
            found.append(Node(int(directory.name.removeprefix("node")), by_core(own), _node_memory(directory)))
    return tuple(sorted(found, key=lambda node: node.id)) or (Node(0, by_core(usable)),)


def _node_memory(directory: Path) -> int:
    try:
        match = re.search(r"MemTotal:\s*(\d+) kB", (directory / "meminfo").read_text())
    except OSError:
        return 0
    return int(match[1]) << 10 if match else 0


def _cores_of(root: Path, usable: frozenset[int]) -> dict[int, frozenset[int]]:
    """For each CPU the hardware threads of its core; itself alone where the kernel is silent."""
    topology = root / "sys/devices/system/cpu"
    return {cpu: _cpus_in(topology / f"cpu{cpu}/topology/thread_siblings_list") | {cpu} for cpu in usable}


def _cpus_in(path: Path) -> frozenset[int]:
    try:
        return parse_cpu_list(path.read_text())
    except (OSError, ValueError):
        return frozenset()
