"""How many copies of an engine a place has room for, and what each of them gets of it: whole groups of GPUs, or the
cores and the memory of NUMA nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from stoker.plan.devices import Place, Pool, Split, nodes_of, of_one_machine, take
from stoker.plan.kind import Case
from stoker.plan.sources import source_text
from stoker.plan.types import Overrides, Reason, Replica
from stoker.probe.machine import Cpu, Gpu, Node

_T = TypeVar("_T")


@dataclass(frozen=True)
class Layout:
    """`place` is what one replica has to itself, and `devices` its GPUs: those of the replica that has the least
    memory free, since all are driven alike."""

    place: Place
    devices: tuple[Gpu, ...]
    replicas: tuple[Replica, ...]


def layouts(place: Place, split: Split, overrides: Overrides) -> Iterator[Layout]:
    """The most replicas first; none where there is no room for as many as the user set."""
    wanted = overrides.replicas.value if overrides.replicas else None
    if place.pool is None:
        return _on_the_cpu(place, split, wanted)
    if (nodes := nodes_of(split, place, overrides)) > 1:
        return _over_machines(place, place.pool, split, nodes)
    own = replace(place, pool=of_one_machine(place.pool))
    return _on_gpus(own, of_one_machine(place.pool), split, wanted)


def _over_machines(place: Place, pool: Pool, split: Split, nodes: int) -> Iterator[Layout]:
    """One, which all of them share."""
    group = take(pool, split, nodes=nodes)
    if group:
        own = tuple(gpu.index for gpu in group[: len(group) // nodes])
        yield Layout(place, group, (Replica(devices=own),))


def _on_gpus(place: Place, pool: Pool, split: Split, wanted: int | None) -> Iterator[Layout]:
    """As many as there are disjoint groups of GPUs; else one, if that one has more memory free than the others."""
    groups = _groups(pool, split)[:wanted]
    if not groups or (wanted and len(groups) < wanted):
        return
    yield _layout(place, groups)
    if wanted is None and _free(groups[0]) > min(map(_free, groups)):
        yield _layout(place, groups[:1])


def _groups(pool: Pool, split: Split) -> list[tuple[Gpu, ...]]:
    found: list[tuple[Gpu, ...]] = []
    while group := take(pool, split, {gpu.index for group in found for gpu in group}):
        found.append(group)
    return found


def _layout(place: Place, groups: Sequence[tuple[Gpu, ...]]) -> Layout:
    replicas = tuple(Replica(devices=tuple(gpu.index for gpu in group)) for group in groups)
    return Layout(place, min(groups, key=_free), replicas)


def _free(group: Iterable[Gpu]) -> int:
    return min(gpu.memory_free for gpu in group)


def _on_the_cpu(place: Place, split: Split, wanted: int | None) -> Iterator[Layout]:
    """One for each NUMA node, unless several ranks share the processor; else one."""
    cpu = place.cpu
    counts = (wanted,) if wanted else (cpu.numa_nodes, 1) if cpu.numa_nodes > 1 and split.gpus == 1 else (1,)
    for count in counts:
        share = place if count == 1 else replace(place, cpu=_share(cpu, count))
        yield Layout(share, (), replicas_of(cpu, count))


def replicas_of(cpu: Cpu, count: int) -> tuple[Replica, ...]:
    """A replica has whole nodes, or a part of one node's cores; where there are more replicas than cores, a core has
    several. A single one is not pinned: it has all there is."""
    if count == 1 or not cpu.nodes:
        return (Replica(),) * count
    return tuple(replica for nodes, several in _shared_out(cpu.nodes, count) for replica in _on_nodes(nodes, several))


def _shared_out(nodes: Sequence[Node], count: int) -> Iterator[tuple[Sequence[Node], int]]:
    """Nodes that go together, and how many replicas share them."""
    if count <= len(nodes):
        yield from ((group, 1) for group in _divided(nodes, count))
    else:
        for node, several in zip(nodes, _divided(range(count), len(nodes)), strict=True):
            yield (node,), len(several)


def _on_nodes(nodes: Sequence[Node], count: int) -> Iterator[Replica]:
    cpus = [cpu for node in nodes for cpu in node.cpus]
    parts = _divided(cpus, count) if count <= len(cpus) else [[cpus[index % len(cpus)]] for index in range(count)]
    for part in parts:
        yield Replica(cpus=tuple(part), nodes=tuple(node.id for node in nodes))


def _divided(values: Sequence[_T], parts: int) -> list[Sequence[_T]]:
    """In order, the sizes differing by one at most."""
    ends = [len(values) * part // parts for part in range(parts + 1)]
    return [values[start:end] for start, end in pairwise(ends)]


def _share(cpu: Cpu, count: int) -> Cpu:
    """What the least of so many replicas has: its threads within the quota, and its part of the memory."""
    replicas = replicas_of(cpu, count)
    cores = min(len(one.cpus) or cpu.cores // count for one in replicas)
    part = min(_memory_part(cpu, replicas, one) for one in replicas)
    return replace(
        cpu,
        cores=max(1, min(cores, cpu.cores // count)),
        memory_limit=int(cpu.memory_limit * part),
        memory_available=int(cpu.memory_available * part),
        numa_nodes=max(1, len(replicas[0].nodes)),
        nodes=(),
    )


def _memory_part(cpu: Cpu, replicas: Sequence[Replica], one: Replica) -> float:
    """By the memory of its nodes, which the replicas on them share alike."""
    whole = sum(node.memory for node in cpu.nodes)
    if not whole or not one.nodes:
        return 1 / len(replicas)
    own = sum(node.memory for node in cpu.nodes if node.id in one.nodes)
    return own / whole / sum(each.nodes == one.nodes for each in replicas)


def replica_reasons(case: Case) -> Iterator[Reason]:
    """How many, why so many, and which GPUs are left."""
    pool, count = case.candidate.place.pool, len(case.replicas)
    if text := _on_each_gpu(case, pool) if pool else _on_each_node(case):
        yield Reason("replicas", text)
    idle = len(pool.gpus) - count * case.candidate.split.gpus if pool else 0
    if idle:
        gpus = "1 GPU is" if idle == 1 else f"{idle} GPUs are"
        yield Reason("idle", f"{gpus} unused{_why_idle(case)}")


def _why_idle(case: Case) -> str:
    gpus = case.candidate.split.gpus
    if case.question.overrides.replicas:
        return ": the replicas asked for take no more"
    return f": a replica takes {gpus} that work together" if gpus > 1 else ": less of their memory is free"


def _counted(case: Case) -> str:
    count = len(case.replicas)
    return "1 replica" if count == 1 else f"{count} replicas"


def _asked(case: Case) -> str:
    override = case.question.overrides.replicas
    return f"asked for by {source_text(override)}" if override else ""


def _on_each_gpu(case: Case, pool: Pool) -> str:
    gpus, asked = case.candidate.split.gpus, _asked(case)
    if len(case.replicas) == 1:
        return f"1 replica: {asked}" if asked else ""
    sizes = f"{_counted(case)} of {'1 GPU' if gpus == 1 else f'{gpus} GPUs'} each"
    if asked:
        return f"{sizes}: {asked}"
    if gpus == 1:
        return f"{sizes}: a GPU that holds the model serves by itself, without exchange between GPUs"
    within = ", each within GPUs that NVLink joins" if pool.nvlink and case.candidate.split.pipeline == 1 else ""
    more = "more GPUs for one would shorten its steps too little"
    latency = case.candidate.profile.goal == "latency"
    return f"{sizes}{within}: {more if latency else 'all free GPUs are used, in groups that hold the model'}"


def _on_each_node(case: Case) -> str:
    count, asked = len(case.replicas), _asked(case)
    if count == 1:
        if asked:
            return f"1 replica: {asked}"
        several = case.question.machine.cpu.numa_nodes > 1 and case.candidate.split.gpus == 1
        return "1 replica over all NUMA nodes: one node's memory does not hold it comfortably" if several else ""
    cores = case.chosen.threads
    each = f"each with {'1 core' if cores == 1 else f'{cores} cores'} and its part of the memory"
    if asked:
        shared = ", which replicas share" if count > case.question.machine.cpu.cores else ""
        return f"{_counted(case)}, {each}{shared}: {asked}"
    return f"{_counted(case)}, {each}: one for each NUMA node, since memory of another node is slower to read"
