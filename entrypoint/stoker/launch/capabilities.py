"""What an engine kind can do with a request, read off the tensors that its Triton model takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker.launch import contract

GUIDES = "guide"
TOP_LOG_PROBS = "top_logprobs"
PROMPT_LOG_PROBS = "prompt_logprobs"

# Parameters as a request calls them, each with the tensor that it needs.
_TENSORS: Mapping[str, str] = {
    GUIDES: "guided_decoding_guide",
    TOP_LOG_PROBS: "top_log_probs",
    PROMPT_LOG_PROBS: "prompt_log_probs",
    "logit_bias": "embedding_bias",
    "min_p": "min_p",
    "min_tokens": "min_tokens",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repetition_penalty",
}


@dataclass(frozen=True)
class Capabilities:
    """`lacks`: request parameters that the engine cannot follow, so that the API refuses them by name instead of
    ignoring them. `tells_reuse`: it reports how much of a prompt its KV cache already held."""

    lacks: frozenset[str]
    tells_reuse: bool


@dataclass(frozen=True)
class Tensors:
    """Names from stoker.launch.contract. ValueError for a name that is not in it."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        contract.select(contract.INPUTS, self.inputs)
        contract.select(contract.OUTPUTS, self.outputs)

    @property
    def capabilities(self) -> Capabilities:
        lacks = frozenset(name for name, tensor in _TENSORS.items() if tensor not in self.inputs)
        return Capabilities(lacks, contract.REUSED_BLOCKS in self.outputs)
