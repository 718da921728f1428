"""One engine on several machines: how many it takes, and what that costs on the network between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stoker.plan.kind import Case
from stoker.plan.types import Reason
from stoker.plan.units import count_text, size_text
from stoker.probe.machine import Gpu, Machine

_ACTIVATION_BYTES = 2  # of each value between layers, in 16 bits
_REDUCES = 2  # all-reduces in each layer, after attention and after the feed-forward part
_NETWORKS = (("25 Gb/s", 25e9 / 8), ("400 Gb/s", 400e9 / 8))


def nodes_over(devices: Sequence[Gpu], machine: Machine) -> int:
    """Machines whose GPUs these are, in order."""
    if machine.nodes == 1 or not devices:
        return 1
    return len({gpu.index // machine.gpus_of_each for gpu in devices})


def machines_reasons(case: Case) -> Iterator[Reason]:
    chosen, machine = case.chosen, case.question.machine
    if chosen.nodes > 1:
        yield Reason("machines", _layout(case))
        yield Reason("network", _network(case))
    elif machine.nodes > 1:
        idle = machine.nodes - 1
        text = (
            f"one machine holds it: {idle} of {machine.nodes} unused; serve a replica on each, which costs no network"
        )
        yield Reason("machines", text)


def _layout(case: Case) -> str:
    chosen = case.chosen
    stages = chosen.pipeline_parallel // chosen.nodes
    each = "1 pipeline stage" if stages == 1 else f"{stages} pipeline stages"
    gpus = "1 GPU" if chosen.tensor_parallel == 1 else f"{chosen.tensor_parallel} GPUs"
    return (
        f"{chosen.nodes} machines, {each} of {gpus} on each: layers follow one another "
        "from machine to machine, and no layer is shared across the network"
    )


def _network(case: Case) -> str:
    chosen, architecture = case.chosen, case.question.model.architecture
    token = architecture.hidden_size * _ACTIVATION_BYTES
    shared = token * _REDUCES * architecture.layers
    step = token * chosen.max_num_tokens
    times = " and ".join(f"{1000 * step / rate:.1f} ms at {name}" for name, rate in _NETWORKS)
    return (
        f"network: {count_text(token)} bytes per token from each machine to the next ({count_text(shared)} if layers "
        f"were shared across it); a full step of {count_text(chosen.max_num_tokens)} tokens sends {size_text(step)}: "
        f"{times}"
    )
