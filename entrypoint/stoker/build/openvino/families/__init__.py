"""The model architectures that the OpenVINO builder knows. Importing this imports neither openvino nor numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.build.openvino.families import gemma, granite, llama, mistral, mixtral, olmo2, phi3, qwen2, qwen3, smollm3
from stoker.build.openvino.families.family import Family
from stoker.build.openvino.families.spec import Decoder
from stoker.errors import DamagedModelError, UnsupportedModelError

FAMILIES: tuple[Family, ...] = (
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
    smollm3.FAMILY,
    mixtral.FAMILY,
    qwen3.MOE,
)

SUPPORTED: Mapping[str, Family] = {name: family for family in FAMILIES for name in family.architectures}
"""Families by the name that config.json has in `architectures`."""


def describe(config: Mapping[str, Any], max_seq_len: int | None = None) -> Decoder:
    """What the config's decoder is made of, for sequences of up to `max_seq_len` tokens (by default, the config's
    `max_position_embeddings`). Raises UnsupportedModelError for an architecture or key that is not implemented, and
    DamagedModelError for a value that makes no sense."""
    try:
        return _family(config).decoder(config, max_seq_len or _longest(config))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DamagedModelError("config.json has a value of the wrong kind", why=repr(error)) from error


def _family(config: Mapping[str, Any]) -> Family:
    architecture = (config.get("architectures") or ["none"])[0]
    family = SUPPORTED.get(architecture)
    if family is None:
        raise UnsupportedModelError(
            f"architecture {architecture} is not supported", remedy=f"supported: {', '.join(sorted(SUPPORTED))}"
        )
    return family


def check_config(config: Mapping[str, Any]) -> None:
    """Raises what `describe` would; takes about a millisecond."""
    describe(config)


def _longest(config: Mapping[str, Any]) -> int:
    """The config's own context length, in tokens; text towers keep it one level down."""
    text = config.get("text_config") or config
    return int(text.get("max_position_embeddings") or 2048)
