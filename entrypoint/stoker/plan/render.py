"""A plan for people (`stoker plan`) and for programs (`stoker plan --json`, docs/plan.schema.json)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from stoker.plan.speculation import OFF
from stoker.plan.types import Chosen, MemoryBudget, Plan, Replica
from stoker.plan.units import count_text, size_text
from stoker.probe.machine import Machine
from stoker.resolve.model import Model

_FLAGS = ("profile", "precision", "kv_precision", "max_seq_len", "max_batch_size", "max_num_tokens")
_GPU_FLAGS = ("tensor_parallel", "pipeline_parallel")
_UNLESS_EMPTY = ("devices", "group_size", "max_loras", "max_lora_rank", "draft", "node_rank", "leader")
_OF_THE_USER = ("flag", "environment", "nim", "file")
_LABELS = {
    "kv_precision": "KV precision",
    "max_seq_len": "context",
    "max_batch_size": "concurrent sequences",
    "max_num_tokens": "tokens per step",
    "nodes": "machines",
}


def render_plan(plan: Plan, *, everything: bool = False, image: str = "") -> str:
    """Plain text: what was chosen, why, and what it takes in memory. With `everything`, each value with where it came
    from, and every profile that was rejected. `image`: the one that has the plan's engine, where that is to be told."""
    parts = _details(plan) if everything else _summary(plan, image)
    return "\n\n".join(part for part in parts if part)


def _details(plan: Plan) -> Iterable[str]:
    yield f"{_model_text(plan)}\n{_machine_text(plan)}"
    yield _section("Chosen", _chosen_rows(plan))
    yield _list("Why", map(str, plan.reasons))
    yield _memory_section(plan)
    yield _section("Rejected", ((one.profile, one.reason, "") for one in plan.rejected))
    yield f"Command\n  {command_line(plan)}"


def _summary(plan: Plan, image: str) -> Iterable[str]:
    yield "\n".join(_aligned([*summary_rows(plan, image)], ""))
    yield _list("Why", map(str, plan.reasons))
    yield _memory_section(plan)
    rejected = (("Rejected", f"{len(plan.rejected)} profiles (--all lists them)", ""),) if plan.rejected else ()
    yield "\n".join(_aligned([*rejected, ("Command", command_line(plan), "")], ""))


def _memory_section(plan: Plan) -> str:
    return _section("Memory of each GPU" if plan.chosen.devices else "Memory", _memory_rows(plan))


def summary_rows(plan: Plan, image: str) -> Iterable[tuple[str, str, str]]:
    """What a person decides by. What the user set is marked with where that was."""
    chosen = plan.chosen
    yield "Model", _model_text(plan), ""
    yield "Machine", _machine_text(plan), ""
    yield "Engine", f"{chosen.engine}, profile {chosen.profile}{_given(plan, 'engine', 'profile')}", ""
    if image:
        yield "Image", image, ""
    cache = "no KV cache" if chosen.kv_precision == "none" else f"{chosen.kv_precision} KV cache"
    precisions = f"{chosen.precision} weights, {cache}, {chosen.activation_precision} arithmetic"
    yield "Precision", f"{precisions}{_given(plan, 'precision', 'kv_precision', 'activation_precision')}", ""
    yield "Devices", f"{_devices(plan)}{_given(plan, 'tensor_parallel', 'pipeline_parallel')}", ""
    yield "Context", f"{count_text(chosen.max_seq_len)} tokens{_given(plan, 'max_seq_len')}", ""
    batch = f"up to {count_text(chosen.max_batch_size)} sequences, {count_text(chosen.max_num_tokens)} tokens per step"
    yield "Batch", f"{batch}{_given(plan, 'max_batch_size', 'max_num_tokens')}", ""
    if chosen.speculative != OFF:
        yield "Speculation", f"{speculative_text(plan)}{_given(plan, 'speculative')}", ""
    if chosen.max_loras:
        yield "Adapters", f"up to {chosen.max_loras}, of rank {chosen.max_lora_rank}{_given(plan, 'max_loras')}", ""


def _given(plan: Plan, *names: str) -> str:
    """Where the user set one of these fields; empty where nobody did."""
    given = [text for name, text in plan.sources if name in names and text.startswith(_OF_THE_USER)]
    return f" ({', '.join(dict.fromkeys(given))})" if given else ""


def _devices(plan: Plan) -> str:
    chosen = plan.chosen
    copies = f", {len(plan.replicas)} replicas" if len(plan.replicas) > 1 else ""
    machines = f", {chosen.nodes} machines" if chosen.nodes > 1 else ""
    if not chosen.devices:
        return f"CPU, {chosen.threads} threads{copies}{machines}"
    used = plan.all_devices
    split = (("tensor parallel", chosen.tensor_parallel), ("pipeline parallel", chosen.pipeline_parallel))
    parallel = "".join(f", {name} {size}" for name, size in split if size > 1)
    return f"GPU{'s' if len(used) > 1 else ''} {ranges(sorted(used))}{parallel}{copies}{machines}"


def command_line(plan: Plan) -> str:
    """The explicit `stoker serve` that gives this very plan on this machine."""
    flags = (word for name, value in pinned(plan) for word in (f"--{name}", value))
    return shlex.join(["stoker", "serve", plan.model.reference, *flags])


def pinned(plan: Plan) -> tuple[tuple[str, str], ...]:
    """The settings, by name, that leave the planner no choice."""
    several = plan.chosen.tensor_parallel > 1
    names = (*_FLAGS, *_GPU_FLAGS) if plan.chosen.devices or several else _FLAGS
    names = (*names, *plan.kind_settings, *(("nodes",) if plan.chosen.nodes > 1 else ()))
    own = tuple((name.replace("_", "-"), str(getattr(plan.chosen, name))) for name in names)
    if plan.chosen.speculative != OFF:
        own = (*own, ("speculative", speculative_text(plan)))
    return (*own, ("replicas", str(len(plan.replicas)))) if _could_have_more(plan) else own


def speculative_text(plan: Plan) -> str:
    """As the setting has it."""
    return f"{plan.chosen.speculative}={plan.draft.reference}" if plan.draft else plan.chosen.speculative


def _could_have_more(plan: Plan) -> bool:
    places = len(plan.machine.gpus) if plan.chosen.devices else plan.machine.cpu.numa_nodes
    return places > 1 or len(plan.replicas) > 1


def _model_text(plan: Plan) -> str:
    model = plan.model
    revision = f" at {model.revision[:12]}" if model.revision else ""
    parameters = count_text(model.weights.parameters)
    return f"{model.served_name}{revision}: {model.architecture.name}, {parameters} parameters"


def _machine_text(plan: Plan) -> str:
    cpu = plan.machine.cpu
    memory = size_text(min(cpu.memory_available, cpu.memory_limit))
    processor = cpu.name if cpu.name in plan.machine.name else plan.machine.name
    return f"{processor}: {_gpus(plan)}{cpu.cores} cores, {memory} available"


def _gpus(plan: Plan) -> str:
    used = [gpu for gpu in plan.machine.gpus if gpu.index in plan.all_devices]
    if not used:
        return ""
    count = len(used) * plan.chosen.nodes
    return f"{count} of {len(plan.machine.gpus)} GPUs ({used[0].name}, {size_text(used[0].memory_free)} free); "


def _chosen_rows(plan: Plan) -> Iterable[tuple[str, str, str]]:
    sources = dict(plan.sources)
    for field in fields(Chosen):
        value = getattr(plan.chosen, field.name)
        if (field.name in _UNLESS_EMPTY and not value) or (field.name == "nodes" and value == 1):
            continue
        if field.name == "speculative" and value == OFF:
            continue
        yield _LABELS.get(field.name, field.name.replace("_", " ")), _value_text(value), f"({sources[field.name]})"
    if len(plan.replicas) > 1:
        yield "replicas", "; ".join(map(_replica_text, plan.replicas)), f"({len(plan.replicas)})"


def _replica_text(replica: Replica) -> str:
    return ranges(replica.devices) or ranges(replica.cpus) or "any core"


def ranges(numbers: Sequence[int]) -> str:
    """`0-3,8`, as the kernel writes it."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _value_text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return count_text(value) if isinstance(value, int) else str(value)


def _memory_rows(plan: Plan) -> Iterable[tuple[str, str, str]]:
    memory = plan.memory
    pool, tokens = memory.kv, count_text(memory.kv.tokens)
    blocks = f"{count_text(pool.blocks)} blocks of {pool.block_tokens}"
    each = count_text(pool.bytes_per_token)
    yield "weights", size_text(memory.weights), plan.chosen.precision
    yield "activations", size_text(memory.activations), f"{count_text(plan.chosen.max_num_tokens)} tokens per step"
    if plan.chosen.devices:
        yield "runtime", size_text(memory.runtime), "runtime and decoder buffers"
        yield "CUDA context", size_text(memory.context), ""
        if memory.communication:
            yield "communication", size_text(memory.communication), "NCCL and all-reduce buffers"
    else:
        yield "runtime", size_text(memory.runtime), "API process, Triton, engine, tokenizer"
    if memory.adapters:
        count, rank = plan.chosen.max_loras, plan.chosen.max_lora_rank
        yield "adapters", size_text(memory.adapters), f"up to {count} of rank {rank}"
    if pool.blocks:
        yield "KV cache", size_text(pool.bytes), f"{tokens} tokens of {each} bytes, in {blocks}"
    yield "total", size_text(memory.total), ""
    yield "limit", size_text(memory.limit), f"{size_text(max(memory.limit - memory.total, 0))} free"


def _section(title: str, rows: Iterable[tuple[str, str, str]]) -> str:
    table = tuple(rows)
    return "\n".join([title, *_aligned(table, "  ")]) if table else ""


def _aligned(table: Sequence[tuple[str, str, str]], indent: str) -> Iterable[str]:
    first = max(len(row[0]) for row in table)
    second = max(len(row[1]) for row in table) if any(row[2] for row in table) else 0
    return (f"{indent}{a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in table)


def _list(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, *(f"  - {line}" for line in lines)])


def plan_document(plan: Plan) -> dict[str, Any]:
    """Ready for json.dumps. Sizes are bytes."""
    return {
        "machine": _machine(plan.machine),
        "model": _model(plan.model),
        "chosen": _listed(asdict(plan.chosen)),
        "memory": _memory(plan.memory),
        "replicas": _listed([asdict(replica) for replica in plan.replicas]),
        "rejected": [asdict(rejection) for rejection in plan.rejected],
        "reasons": [reason.text for reason in plan.reasons],
        "sources": dict(plan.sources),
        "command": command_line(plan),
        "next_profile": plan.next_profile,
    }


def _memory(memory: MemoryBudget) -> dict[str, int]:
    """One level, as docs/plan.schema.json has it."""
    lines = {field.name: getattr(memory, field.name) for field in fields(memory) if field.name != "kv"}
    pool = memory.kv
    return {
        **lines,
        "kv_cache": pool.bytes,
        "kv_bytes_per_token": pool.bytes_per_token,
        "kv_block_tokens": pool.block_tokens,
        "kv_blocks": pool.blocks,
        "total": memory.total,
    }


def _machine(machine: Machine) -> dict[str, object]:
    return {name: _listed(child) for name, child in asdict(machine).items()}


def _model(model: Model) -> dict[str, Any]:
    """Without config.json, which is the model's own, and without files."""
    quantization = model.quantization
    return {
        "reference": model.reference,
        "served_name": model.served_name,
        "revision": model.revision,
        "architecture": asdict(model.architecture),
        "parameters": model.weights.parameters,
        "weight_bytes": model.weights.total_bytes,
        "weights_measured": model.weights.measured,
        "pooling": None if model.pooling is None else asdict(model.pooling),
        "quantization": None
        if quantization is None
        else {"method": quantization.method, "bits": quantization.bits, "group_size": quantization.group_size},
    }


def _listed(value: object) -> object:
    """Tuples as the lists that JSON has."""
    if isinstance(value, dict):
        return {name: _listed(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(child) for child in value]
    return value
