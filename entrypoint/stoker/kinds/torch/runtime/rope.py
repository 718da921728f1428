"""Rotary embeddings whose frequencies transformers changes with the length of what it is given."""

from __future__ import annotations

from typing import Any

from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

_LONG, _SETTLED = "longrope", "settled longrope"


def settle(model: Any, max_seq_len: int) -> None:
    """Chooses longrope's factors once, by the longest sequence to be served, as the `openvino` kind does.

    Left alone, the library would choose by the longest sequence that happens to be in a batch, for all of them; keys
    that are in the cache already would no longer fit.
    """
    for module in model.modules():
        if getattr(module, "rope_type", "") == _LONG:
            frequencies, module.attention_scaling = ROPE_INIT_FUNCTIONS[_LONG](
                module.config, module.inv_freq.device, seq_len=max_seq_len
            )
            module.inv_freq.copy_(frequencies)
            module.rope_type = _SETTLED


def is_dynamic(model: Any) -> bool:
    """Whether frequencies follow each sequence's own length, so that sequences cannot share a batch."""
    return any("dynamic" in str(getattr(module, "rope_type", "")) for module in model.modules())
