"""The model architectures that the OpenVINO builder knows. Importing this imports neither openvino nor numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from stoker.errors import UnsupportedModelError
from stoker.kinds.openvino.build.families import (
    bert,
    gemma,
    granite,
    llama,
    mistral,
    mixtral,
    olmo2,
    olmo3,
    phi3,
    qwen2,
    qwen3,
    seed_oss,
    smollm3,
)
from stoker.kinds.openvino.build.families.family import Family, architecture_of, reading
from stoker.kinds.openvino.build.families.spec import Decoder, Encoder

FAMILIES: tuple[Family[Decoder], ...] = (
    llama.FAMILY,
    mistral.FAMILY,
    qwen2.FAMILY,
    qwen3.DENSE,
    phi3.FAMILY,
    gemma.GEMMA2,
    gemma.GEMMA3,
    gemma.GEMMA3_MULTIMODAL,
    granite.FAMILY,
    olmo2.FAMILY,
    olmo3.FAMILY,
    seed_oss.FAMILY,
    smollm3.FAMILY,
    mixtral.FAMILY,
    qwen3.MOE,
)

SUPPORTED: Mapping[str, Family[Decoder]] = {name: family for family in FAMILIES for name in family.architectures}
"""Families by the name that config.json has in `architectures`."""

ENCODERS: Mapping[str, Family[Encoder]] = {
    name: family for family in (bert.BERT, bert.ROBERTA) for name in family.architectures
}
"""The same for models that give no text, but a vector or a score."""

POOLED = frozenset({*ENCODERS, "Qwen3ForCausalLM"})
"""What vectors and scores are made by: encoders, and the decoders known to be published as embedding models."""

_Spec = TypeVar("_Spec")


def describe(config: Mapping[str, object], max_seq_len: int | None = None) -> Decoder:
    """What the config's decoder is made of, for sequences of up to `max_seq_len` tokens (by default, the config's
    `max_position_embeddings`). Raises UnsupportedModelError for an architecture or key that is not implemented, and
    DamagedModelError for a value that makes no sense."""
    return _described(config, SUPPORTED, max_seq_len)


def describe_encoder(config: Mapping[str, object]) -> Encoder:
    """What the config's encoder is made of. Raises what `describe` raises."""
    return _described(config, ENCODERS)


def _described(
    config: Mapping[str, object], known: Mapping[str, Family[_Spec]], max_seq_len: int | None = None
) -> _Spec:
    family = known.get(architecture_of(config))
    if family is None:
        supported = ", ".join([*sorted(SUPPORTED), *sorted(ENCODERS)])
        raise UnsupportedModelError(
            f"architecture {architecture_of(config)} is not supported", remedy=f"supported: {supported}"
        )
    with reading("config.json"):
        return family.spec(config, max_seq_len or _longest(config))


def check_config(config: Mapping[str, object]) -> None:
    """Raises what `describe` or `describe_encoder` would; takes about a millisecond."""
    if architecture_of(config) in ENCODERS:
        describe_encoder(config)
    else:
        describe(config)


def _longest(config: Mapping[str, Any]) -> int:
    """The config's own context length, in tokens; text towers keep it one level down."""
    text = config.get("text_config") or config
    return int(text.get("max_position_embeddings") or 2048)
