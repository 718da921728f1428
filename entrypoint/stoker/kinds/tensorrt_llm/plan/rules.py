"""What the files of profiles/nvidia may say."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.plan.profile import AUTOMATIC, GOALS, ON_REQUEST
from stoker.plan.validate import (
    Rule,
    Rules,
    capability,
    either,
    fields_of,
    list_of,
    mapping_of,
    number,
    one_of,
    text,
    whole,
)

WEIGHTS = (
    *("f16", "bf16", "fp8", "fp8_block", "nvfp4", "mxfp4", "int8_sq", "int8_wo", "int4_wo"),
    *("int4_awq", "int4_gptq", "w4a8_awq"),
)
CACHES = ("f16", "bf16", "int8", "fp8")
CHECKPOINT_KINDS = (
    *("plain", "awq", "gptq", "fp8", "fp8_block", "fp8_rowwise", "nvfp4", "mxfp4"),
    *("modelopt_awq", "w4a8_awq"),
)
KINDS = ("tensorrt_llm", "tensorrt_llm_pytorch")
SUPPORT = ("listed", "unproven", "refused", "kv")


def bits(value: object) -> str:
    return "" if value in (4, 8, 16) else f"{value!r} is not 4, 8 or 16"


def one(value: object) -> str:
    return "" if value == 1 else f"{value!r} is not 1"


_WHOLE = whole(0)
_LIMITS: Mapping[str, Rule] = {
    **dict.fromkeys(("max_batch_size", "min_batch_size", "max_num_tokens", "min_num_tokens"), whole(1)),
    **dict.fromkeys(("max_seq_len", "comfortable_seq_len", "min_seq_len", "min_tokens_per_sequence"), whole(1)),
    "min_weight_bytes_per_gpu": _WHOLE,
}
_MEMORY: Mapping[str, Rule] = {
    **dict.fromkeys(("kv_fraction", "unified_fraction", "sequence_bytes_per_vocabulary_entry"), number),
    **dict.fromkeys(("per_intermediate", "per_attention", "per_hidden", "sequence_bytes_per_token"), _WHOLE),
    **dict.fromkeys(("cuda_context", "communication"), _WHOLE),
    "kv_block_tokens": whole(1),
    "source": text,
}
_HOST: Mapping[str, Rule] = {
    **dict.fromkeys(("memory_refused", "memory_enough", "disk"), number),
    "memory_least": _WHOLE,
    "source": text,
}
_PRECISION: Mapping[str, Rule] = {
    "order": _WHOLE,
    "bits": bits,
    "scale_bytes": _WHOLE,
    "group_size": _WHOLE,
    "checkpoints": mapping_of(one_of(CHECKPOINT_KINDS), one_of((AUTOMATIC, ON_REQUEST))),
    "kv": one_of(("activation", *CACHES)),
    "kv_offered": list_of(one_of(CACHES), 1),
}
_SUPPORT: Mapping[str, Rule] = {
    "listed": list_of(one_of(WEIGHTS)),
    "unproven": list_of(one_of(WEIGHTS)),
    "refused": mapping_of(one_of(WEIGHTS), text),
    "kv": list_of(one_of(CACHES), 1),
}
_FAMILY = either(text, fields_of({name: _SUPPORT[name] for name in ("listed", "unproven")}))

KIND: Rules = {
    "schema": one,
    "kind": one_of(KINDS),
    "order": _WHOLE,
    "image": {"name": text, "release": text, "driver": text, "cuda": text, "source": text},
    "host": _HOST,
    "memory": _MEMORY,
    "goals": dict.fromkeys(GOALS, _LIMITS),
    "precisions": mapping_of(one_of(WEIGHTS), fields_of(_PRECISION)),
    "paged_context_attention": {
        "off": list_of(fields_of({"kv": one_of(CACHES), "with": list_of(one_of(WEIGHTS), 1)})),
        "source": text,
    },
}
CAPABILITIES: Rules = {
    "schema": one,
    "capabilities": mapping_of(capability, either(text, fields_of(dict.fromkeys(KINDS, fields_of(_SUPPORT))))),
}
_CONVERTER: Mapping[str, Rule] = {
    **dict.fromkeys(("folder", "source", "tensor"), text),
    **dict.fromkeys(("pipeline", "workers", "fp8_cache"), lambda value: "" if value is None else text(value)),
    "architectures": list_of(text, 1),
    "reads": list_of(one_of(CHECKPOINT_KINDS), 1),
    **dict.fromkeys(("fixed", "environment"), mapping_of(text, text)),
}
CONVERTERS: Rules = {"schema": one, "converters": mapping_of(text, fields_of(_CONVERTER))}
MODELS: Rules = {
    "schema": one,
    "families": mapping_of(text, fields_of({"architectures": list_of(text, 1), **dict.fromkeys(KINDS, _FAMILY)})),
}
