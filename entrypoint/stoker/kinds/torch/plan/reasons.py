"""The reasons of a torch plan, one line each, and where each of its values came from."""

from __future__ import annotations

from dataclasses import fields

from stoker.kinds.torch.plan.fit import Setting, TorchFit
from stoker.plan.sources import MACHINE, MODEL, PLANNER, source_text
from stoker.plan.types import Chosen, Wishes
from stoker.plan.units import count_text, size_text


def reasons_for(
    chosen: Chosen, setting: Setting, found: TorchFit, wishes: Wishes, longest: int, why: str
) -> tuple[str, ...]:
    lines = (
        _kind(wishes, why),
        _device(chosen, setting, wishes),
        _precision(chosen, setting, wishes),
        _context(chosen, wishes, longest),
        _batch(chosen, setting, wishes),
        _cache(chosen, found),
        _estimate(setting),
    )
    return tuple(filter(None, lines))


def _kind(wishes: Wishes, why: str) -> str:
    if wishes.profile:
        return f"engine torch: asked for by {source_text(wishes.profile)}; nothing is compiled"
    return f"engine torch, the last choice: {why}; nothing is compiled, so it is slower than an engine that is"


def _device(chosen: Chosen, setting: Setting, wishes: Wishes) -> str:
    if setting.ranks > 1:
        return _ranks(chosen, setting, wishes)
    if not chosen.devices:
        return "it runs on the CPU"
    return f"it runs on GPU {chosen.devices[0]} ({setting.device.name})"


def _ranks(chosen: Chosen, setting: Setting, wishes: Wishes) -> str:
    why = "one of them cannot hold the model"
    if wish := wishes.tensor_parallel:
        why = f"asked for by {source_text(wish)}"
    where = f"GPUs {', '.join(map(str, chosen.devices))} ({setting.device.name})"
    if not chosen.devices:
        where = f"the CPU, whose cores and memory {setting.ranks} processes share"
    return f"tensor parallel {setting.ranks}, by transformers' own plan, on {where}: {why}"


def _precision(chosen: Chosen, setting: Setting, wishes: Wishes) -> str:
    if wish := wishes.precision or wishes.profile:
        line = f"precision {chosen.precision}: asked for by {source_text(wish)}"
    elif setting.why:
        return f"precision {chosen.precision}, not the checkpoint's own: {setting.why}"
    else:
        line = f"precision {chosen.precision}: the checkpoint's own"
    quantised = chosen.precision != chosen.activation_precision
    return f"{line}; quantised while it is loaded, computed in {chosen.activation_precision}" if quantised else line


def _context(chosen: Chosen, wishes: Wishes, longest: int) -> str:
    value = count_text(chosen.max_seq_len)
    if wish := wishes.max_seq_len:
        return f"context {value} tokens: asked for by {source_text(wish)}"
    if chosen.max_seq_len == longest:
        return f"context {value} tokens: all that the model allows"
    return f"context {value} tokens: what the profile allows and memory holds; the model allows {count_text(longest)}"


def _batch(chosen: Chosen, setting: Setting, wishes: Wishes) -> str:
    value = chosen.max_batch_size
    if wish := wishes.max_batch_size:
        return f"{value} sequences at once: asked for by {source_text(wish)}"
    if value < setting.limits.max_batch_size:
        return f"batch shrunk from {setting.limits.max_batch_size} to {value} sequences at once to fit in memory"
    return f"{value} sequences at once and {count_text(chosen.max_num_tokens)} tokens a step: the profile's"


def _cache(chosen: Chosen, found: TorchFit) -> str:
    memory = found.budget
    tokens = count_text(memory.kv_blocks * memory.kv_block_tokens)
    return (
        f"KV cache of {tokens} tokens in {chosen.kv_precision} ({size_text(memory.kv_cache)}, with the copies that "
        "attention without flash kernels makes of it)"
    )


def _estimate(setting: Setting) -> str:
    measured = setting.model.weights.measured
    return "" if measured else "weights computed from the architecture: no file headers were at hand"


def sources_for(chosen: Chosen, wishes: Wishes) -> tuple[tuple[str, str], ...]:
    """One entry a field of `chosen`, in their order."""
    profile = f"profile {chosen.profile}"
    own = {
        **dict.fromkeys(("profile", "tensor_parallel", "pipeline_parallel", "devices"), PLANNER),
        **dict.fromkeys(("engine", "max_batch_size", "max_num_tokens", "max_seq_len", "group_size"), profile),
        **dict.fromkeys(("precision", "kv_precision", "activation_precision"), f"{MODEL}, {MACHINE}"),
        "threads": MACHINE,
    }
    return tuple((field.name, _wished(wishes, field.name) or own[field.name]) for field in fields(chosen))


def _wished(wishes: Wishes, name: str) -> str:
    wish = getattr(wishes, name, None)
    return source_text(wish) if wish else ""
