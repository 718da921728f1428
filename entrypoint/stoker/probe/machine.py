"""What `probe` finds out: the facts of one machine, as numbers and capabilities, never as a table of product names.

All sizes are bytes. A `Machine` may also come from a description (`--machine`), for planning elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

INVENTED_CPU = "described"
"""The processor's name where a description names GPUs alone: what it says of cores and memory is made up."""

NVIDIA, AMD = "nvidia", "amd"


@dataclass(frozen=True)
class Gpu:
    """One CUDA or HIP device, or one MIG instance as a device of its own.

    `index` is the position among the devices that this process may use; to a CUDA program they are named by `uuid`,
    which means the same whatever CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER say. `nvlink_peers` are such positions, and
    `p2p_peers`, those whose memory it can read directly, by whatever link.
    `unified_memory`: the memory is the host's own, to be counted once. Sizes are 0 where the driver does not tell.
    `ecc` is None where the memory has no error correction to turn on. `processes` counts the programs that compute on
    it now, as far as this process may see them. `persistence`: the driver stays loaded while no program uses it; None
    where it does not tell.
    `vendor` is "nvidia" or "amd". Of AMD's, `architecture` is the target that kernels are compiled for (gfx942), the
    compute capability is (0, 0), `uuid` is what ROCR_VISIBLE_DEVICES calls it, and `nvlink_peers` are joined by XGMI.
    """

    index: int
    uuid: str
    name: str
    pci_bus_id: str
    memory_total: int
    memory_free: int
    compute_capability: tuple[int, int]
    is_mig: bool = False
    nvlink_peers: tuple[int, ...] = ()
    unified_memory: bool = False
    ecc: bool | None = None
    processes: int = 0
    p2p_peers: tuple[int, ...] = ()
    persistence: bool | None = None
    vendor: str = NVIDIA
    architecture: str = ""


@dataclass(frozen=True)
class Node:
    """A NUMA node: those of its `cpus` that this process may use, hardware threads of a core beside each other, and
    its memory in bytes, 0 where the kernel does not tell."""

    id: int
    cpus: tuple[int, ...]
    memory: int = 0


@dataclass(frozen=True)
class Cpu:
    """The processor as this process may use it: after affinity and cgroup limits.

    `cores` is what may run at once (at least 1); `core_quota` the fractional limit from the cgroup, None without one.
    `memory_total` is the host's, `memory_limit` the smaller of that and every cgroup limit above this process,
    `memory_available` what can be taken now without swapping, within that limit.
    `isa` holds the extensions that matter to engines: "avx2", "avx512", "avx512_vnni", "avx512_bf16", "avx_vnni",
    "amx_bf16", "amx_int8", "amx_fp16", "neon", "sve", "asimd_bf16", "asimd_i8mm". `physical_cores` counts the cores
    behind the usable hardware threads, before the quota; 0 where unknown. `nodes`: the NUMA nodes with usable CPUs;
    empty of a machine that is only described.
    """

    architecture: str
    name: str
    cores: int
    core_quota: float | None
    memory_total: int
    memory_limit: int
    memory_available: int
    isa: tuple[str, ...]
    numa_nodes: int = 1
    physical_cores: int = 0
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Machine:
    """`driver` and `cuda` are the NVIDIA driver's and its CUDA's version, empty without one. `p2p_fault` is why GPUs
    cannot read each other's memory, empty where they can or nobody asked. `nodes`: several machines, all alike, whose
    GPUs are listed one machine after the other; everything else is that of each."""

    name: str
    cpu: Cpu
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    shared_memory: int = 0
    notes: tuple[str, ...] = ()
    p2p_fault: str = ""
    nodes: int = 1

    @property
    def gpus_of_each(self) -> int:
        """GPUs of one of the machines."""
        return len(self.gpus) // self.nodes

    @property
    def host_known(self) -> bool:
        """False for a machine described by its GPUs alone, whose cores and memory of the host are made up."""
        return self.cpu.name != INVENTED_CPU

    @property
    def host_memory(self) -> int:
        """Bytes of the host's memory that this process may take."""
        return min(self.cpu.memory_available, self.cpu.memory_limit)


def machines(one: Machine, nodes: int) -> Machine:
    """So many of them, as one to plan for. NVLink ends at the machine's edge."""
    each = len(one.gpus)
    gpus = tuple(_moved(gpu, shift) for shift in range(0, each * nodes, each or 1) for gpu in one.gpus)
    return replace(one, name=f"{nodes}x({one.name})", gpus=gpus, nodes=nodes)


def _moved(gpu: Gpu, shift: int) -> Gpu:
    nvlink, p2p = _shifted(gpu.nvlink_peers, shift), _shifted(gpu.p2p_peers, shift)
    return replace(gpu, index=gpu.index + shift, nvlink_peers=nvlink, p2p_peers=p2p)


def _shifted(peers: tuple[int, ...], shift: int) -> tuple[int, ...]:
    return tuple(peer + shift for peer in peers)
