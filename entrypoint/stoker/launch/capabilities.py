"""What an engine kind cannot sample with, so that the API refuses it by name instead of passing it over."""

from __future__ import annotations

from collections.abc import Mapping

NOTHING: frozenset[str] = frozenset()
GUIDES = "guide"

# Parameters as a request calls them. transformers' continuous
# batching keeps no counts of a request's tokens on the device, which penalties and a least length would need.
# Neither it nor OpenVINO GenAI lets a request change the logits.
LACKS: Mapping[str, frozenset[str]] = {
    "openvino": frozenset({"logit_bias"}),
    "torch": frozenset(
        {GUIDES, "logit_bias", "min_tokens", "presence_penalty", "frequency_penalty", "repetition_penalty"}
    ),
}

# Kinds that tell how much of a prompt their KV cache held already.
TELL_REUSE = frozenset({"tensorrt_llm", "tensorrt_llm_pytorch"})


def lacks(kind: str) -> frozenset[str]:
    return LACKS.get(kind, NOTHING)
