"""The reasons of a torch plan, one line each, and where each of its values came from."""

from __future__ import annotations

from dataclasses import fields

from stoker.kinds.torch.plan.fit import Setting, TorchFit
from stoker.plan.sources import MACHINE, MODEL, PLANNER, source_text
from stoker.plan.types import Chosen, Overrides, Reason
from stoker.plan.units import count_text, size_text


def reasons_for(
    chosen: Chosen, setting: Setting, found: TorchFit, overrides: Overrides, longest: int, why: str
) -> tuple[Reason, ...]:
    lines = (
        ("kind", _kind(overrides, why)),
        ("devices", _device(chosen, setting, overrides)),
        ("precision", _precision(chosen, setting, overrides)),
        ("context", _context(chosen, overrides, longest)),
        ("batch", _batch(chosen, setting, overrides)),
        ("pool", _cache(chosen, found)),
        ("estimate", _estimate(setting)),
    )
    return tuple(Reason(code, text) for code, text in lines if text)


def _kind(overrides: Overrides, why: str) -> str:
    if overrides.profile:
        return f"engine torch: asked for by {source_text(overrides.profile)}; nothing is compiled"
    return f"engine torch, the last choice: {why}; nothing is compiled, so it is slower than an engine that is"


def _device(chosen: Chosen, setting: Setting, overrides: Overrides) -> str:
    if setting.ranks > 1:
        return _ranks(chosen, setting, overrides)
    if not chosen.devices:
        return "it runs on the CPU"
    return f"it runs on GPU {chosen.devices[0]} ({setting.device.name})"


def _ranks(chosen: Chosen, setting: Setting, overrides: Overrides) -> str:
    why = "one of them cannot hold the model"
    if override := overrides.tensor_parallel:
        why = f"asked for by {source_text(override)}"
    where = f"GPUs {', '.join(map(str, chosen.devices))} ({setting.device.name})"
    if not chosen.devices:
        where = f"the CPU, whose cores and memory {setting.ranks} processes share"
    return f"tensor parallel {setting.ranks}, by transformers' own plan, on {where}: {why}"


def _precision(chosen: Chosen, setting: Setting, overrides: Overrides) -> str:
    if override := overrides.precision or overrides.profile:
        line = f"precision {chosen.precision}: asked for by {source_text(override)}"
    elif setting.why:
        return f"precision {chosen.precision}, not the checkpoint's own: {setting.why}"
    else:
        line = f"precision {chosen.precision}: the checkpoint's own"
    quantised = chosen.precision != chosen.activation_precision
    return f"{line}; quantised while it is loaded, computed in {chosen.activation_precision}" if quantised else line


def _context(chosen: Chosen, overrides: Overrides, longest: int) -> str:
    value = count_text(chosen.max_seq_len)
    if override := overrides.max_seq_len:
        return f"context {value} tokens: asked for by {source_text(override)}"
    if chosen.max_seq_len == longest:
        return f"context {value} tokens: all that the model allows"
    return f"context {value} tokens: what the profile allows and memory holds; the model allows {count_text(longest)}"


def _batch(chosen: Chosen, setting: Setting, overrides: Overrides) -> str:
    value = chosen.max_batch_size
    if override := overrides.max_batch_size:
        return f"{value} sequences at once: asked for by {source_text(override)}"
    if value < setting.limits.max_batch_size:
        return f"batch shrunk from {setting.limits.max_batch_size} to {value} sequences at once to fit in memory"
    return f"{value} sequences at once and {count_text(chosen.max_num_tokens)} tokens a step: the profile's"


def _cache(chosen: Chosen, found: TorchFit) -> str:
    pool = found.budget.kv
    return (
        f"KV cache of {count_text(pool.tokens)} tokens in {chosen.kv_precision} ({size_text(pool.bytes)}, with the "
        "copies that attention without flash kernels makes of it)"
    )


def _estimate(setting: Setting) -> str:
    measured = setting.model.weights.measured
    return "" if measured else "weights computed from the architecture: no file headers were at hand"


def sources_for(chosen: Chosen, overrides: Overrides) -> tuple[tuple[str, str], ...]:
    """One entry a field of `chosen`, in their order."""
    profile = f"profile {chosen.profile}"
    own = {
        **dict.fromkeys(("profile", "tensor_parallel", "pipeline_parallel", "devices"), PLANNER),
        **dict.fromkeys(("engine", "max_batch_size", "max_num_tokens", "max_seq_len", "group_size"), profile),
        **dict.fromkeys(("precision", "kv_precision", "activation_precision"), f"{MODEL}, {MACHINE}"),
        "threads": MACHINE,
        "purpose": MODEL,
    }
    return tuple((field.name, _override(overrides, field.name) or own[field.name]) for field in fields(chosen))


def _override(overrides: Overrides, name: str) -> str:
    override = getattr(overrides, name, None)
    return source_text(override) if override else ""
