"""Qwen 2 and 2.5: biases on queries, keys and values; a sliding window from layer `max_window_layers` on, if at all."""

from __future__ import annotations

from stoker.kinds.openvino.build.families.family import (
    Config,
    Family,
    attention,
    decoder,
    layer_types,
    mlp,
    whole_rope,
    window,
)
from stoker.kinds.openvino.build.families.keys import flag
from stoker.kinds.openvino.build.families.spec import Decoder, Layer
from stoker.resolve.numbers import whole

READS = frozenset({"hidden_act", "use_sliding_window", "sliding_window", "max_window_layers", "layer_types"})


def windows(config: Config) -> tuple[int | None, ...]:
    """For each layer, its sliding window."""
    size = window(config) if flag(config, "use_sliding_window") else None
    first = whole(config, "max_window_layers", 28, low=0)
    sliding = layer_types(config, lambda index: index >= first)
    return tuple(size if slides else None for slides in sliding)


def describe(config: Config, context: int) -> Decoder:
    rope = whole_rope(config, context)
    layers = tuple(
        Layer(attention(config, rope, window=size, input_bias=True), mlp(config)) for size in windows(config)
    )
    return decoder(config, layers)


FAMILY = Family(("Qwen2ForCausalLM",), describe, READS, defaults={"sliding_window": 4096})
