"""Where an engine may run: which GPUs are free and can work together, and over how many a model is spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace

from stoker.plan.types import Overrides
from stoker.plan.units import size_text
from stoker.probe.machine import Cpu, Gpu, Machine

# A desktop, or a runtime that is only loaded, leaves a GPU free; NIM too leaves out what is in use.
_BUSY_SHARE = 0.1
_BUSY_BYTES = 2 << 30
SIZES = (1, 2, 4, 8, 16)
CPU = "cpu"


@dataclass(frozen=True)
class Split:
    """Tensor and pipeline parallel sizes; `tensor` GPUs share each layer, `pipeline` groups hold successive layers."""

    tensor: int
    pipeline: int

    @property
    def gpus(self) -> int:
        return self.tensor * self.pipeline


@dataclass(frozen=True)
class Pool:
    """Free GPUs of one model, in `islands`: sets that NVLink joins, or one set of all where there is no NVLink."""

    gpus: tuple[Gpu, ...]
    islands: tuple[tuple[Gpu, ...], ...]
    nvlink: bool
    nodes: int = 1

    @property
    def name(self) -> str:
        return self.gpus[0].name

    @property
    def capability(self) -> tuple[int, int]:
        return self.gpus[0].compute_capability

    @property
    def widest(self) -> int:
        """The most GPUs that may share a layer."""
        return max(len(island) for island in self.islands)


@dataclass(frozen=True)
class Place:
    """Free GPUs of one model, or the CPU where `pool` is None."""

    cpu: Cpu
    pool: Pool | None = None

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        return self.pool.gpus if self.pool else ()

    @property
    def device(self) -> str:
        """`cpu`, or the GPUs' vendor."""
        return self.pool.gpus[0].vendor if self.pool else CPU

    @property
    def name(self) -> str:
        return self.pool.name if self.pool else "the CPU"

    @property
    def widest(self) -> int:
        """The most ranks that may share a layer: GPUs that reach each other; of a CPU its cores."""
        return self.pool.widest if self.pool else self.cpu.cores

    @property
    def cpu_memory(self) -> int:
        """Bytes of the host's memory that this process may take."""
        return min(self.cpu.memory_available, self.cpu.memory_limit)


def busy_reason(gpu: Gpu) -> str:
    """Why this GPU is left out; empty where it is free."""
    if gpu.memory_total <= 0:
        return "the driver does not tell how much memory it has"
    used = gpu.memory_total - gpu.memory_free
    if gpu.unified_memory or used <= max(gpu.memory_total * _BUSY_SHARE, _BUSY_BYTES):
        return ""
    return f"is busy: {size_text(used)} of {size_text(gpu.memory_total)} are in use"


def busy(machine: Machine) -> tuple[tuple[Gpu, str], ...]:
    judged = ((gpu, busy_reason(gpu)) for gpu in machine.gpus)
    return tuple((gpu, reason) for gpu, reason in judged if reason)


def pools(machine: Machine) -> tuple[Pool, ...]:
    """One for each kind of free GPU, that with the most memory first. A MIG instance is a pool of its own: instances
    cannot exchange data."""
    kinds: dict[tuple[str, int, str], list[Gpu]] = {}
    for gpu in machine.gpus:
        if not busy_reason(gpu):
            own = gpu.uuid if gpu.is_mig else ""
            kinds.setdefault((gpu.name, gpu.memory_total, own), []).append(gpu)
    found = (_pool(gpus, machine) for gpus in kinds.values())
    return tuple(sorted(found, key=lambda pool: (-sum(gpu.memory_free for gpu in pool.gpus), pool.gpus[0].index)))


def _pool(gpus: Sequence[Gpu], machine: Machine) -> Pool:
    islands = _islands(gpus)
    nvlink = any(len(island) > 1 for island in islands)
    return Pool(tuple(gpus), islands if nvlink else _by_machine(gpus, machine), nvlink, machine.nodes)


def _by_machine(gpus: Sequence[Gpu], machine: Machine) -> tuple[tuple[Gpu, ...], ...]:
    found: dict[int, list[Gpu]] = {}
    for gpu in gpus:
        found.setdefault(gpu.index // machine.gpus_of_each, []).append(gpu)
    return tuple(map(tuple, found.values()))


def _islands(gpus: Sequence[Gpu]) -> tuple[tuple[Gpu, ...], ...]:
    """Connected sets over NVLink."""
    left, found = {gpu.index: gpu for gpu in gpus}, []
    while left:
        _, first = left.popitem()
        island, waiting = [first], [first]
        while waiting:
            for peer in waiting.pop().nvlink_peers:
                if peer in left:
                    gpu = left.pop(peer)
                    island.append(gpu)
                    waiting.append(gpu)
        found.append(tuple(sorted(island, key=lambda gpu: gpu.index)))
    return tuple(sorted(found, key=lambda island: island[0].index))


def take(pool: Pool, split: Split, without: Set[int] = frozenset(), nodes: int = 1) -> tuple[Gpu, ...] | None:
    """For each pipeline group GPUs of one island: the smallest with enough, in it those with most memory free. Over
    several machines as many groups of each, one machine after the other. `without`: indices of GPUs that are taken
    already."""
    taken: list[Gpu] = []
    for number in range(split.pipeline):
        machine = number * nodes // split.pipeline if nodes > 1 else None
        group = _group(pool, split.tensor, {*without, *(gpu.index for gpu in taken)}, machine)
        if group is None:
            return None
        taken.extend(group)
    return tuple(taken)


def _group(pool: Pool, count: int, taken: Set[int], machine: int | None) -> list[Gpu] | None:
    each = len(pool.gpus) // pool.nodes
    islands = pool.islands if machine is None else [one for one in pool.islands if one[0].index // each == machine]
    free = [[gpu for gpu in island if gpu.index not in taken] for island in islands]
    enough = [island for island in free if len(island) >= count]
    if not enough:
        return None
    smallest = min(enough, key=lambda island: (len(island), island[0].index))
    best = sorted(smallest, key=lambda gpu: (-gpu.memory_free, gpu.index))[:count]
    return sorted(best, key=lambda gpu: gpu.index)


def splits(place: Place, overrides: Overrides, why_not: Callable[[Split], str]) -> tuple[Split, ...]:
    """Those that `why_not` has nothing against, the fewest GPUs first; of as many GPUs the widest tensor parallelism,
    which takes the least memory and time. A CPU is shared by several ranks only where the user says so."""
    sizes = SIZES if place.pool else (1,)
    nodes = place.pool.nodes if place.pool else 1
    over = sorted({*sizes, *(size * nodes for size in sizes)})
    tensor = (overrides.tensor_parallel.value,) if overrides.tensor_parallel else sizes
    pipeline = (overrides.pipeline_parallel.value,) if overrides.pipeline_parallel else over
    widest: dict[int, Split] = {}
    for split in (Split(one, other) for one in sorted(tensor) for other in pipeline):
        if fits_place(split, place) and _fits_machines(split, place, overrides) and not why_not(split):
            widest[split.gpus] = split
    return tuple(sorted(widest.values(), key=lambda split: split.gpus))


def of_one_machine(pool: Pool) -> Pool:
    """The first one's part: the others are alike."""
    each = len(pool.gpus) // pool.nodes
    islands = tuple(island for island in pool.islands if island[0].index // each == pool.gpus[0].index // each)
    return replace(pool, gpus=pool.gpus[:each], islands=islands, nodes=1)


def nodes_of(split: Split, place: Place, overrides: Overrides) -> int:
    """How many machines it takes: one where that is enough and the user does not say otherwise, else all of them."""
    pool = place.pool
    return pool.nodes if pool and (overrides.nodes or split.gpus > len(pool.gpus) // pool.nodes) else 1


def _fits_machines(split: Split, place: Place, overrides: Overrides) -> bool:
    """In one machine, or over all of them alike, each with whole pipeline groups; where the user says over how many
    machines, over these."""
    nodes = place.pool.nodes if place.pool else 1
    if nodes_of(split, place, overrides) == 1:
        return True
    return split.pipeline % nodes == 0 and split.gpus // nodes <= len(place.gpus) // nodes


def fits_place(split: Split, place: Place) -> bool:
    most = len(place.gpus) if place.pool else place.widest
    return split.gpus <= most and split.tensor <= place.widest
