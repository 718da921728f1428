"""What the stub sends to the host for one sequence."""

from __future__ import annotations

from array import array

import msgspec


class SequenceParams(msgspec.Struct, omit_defaults=True, frozen=True):
    """Of stoker.launch.generation.Generation all but its ids, under the same names; None is vLLM's default.

    `guide`: one of TensorRT-LLM's guide types (json, json_schema, regex, ebnf_grammar, structural_tag) or choice, and
    its text; the choices are a JSON list. `bias`: f32 bytes, one for each id of the vocabulary; `logit_bias`: for some.
    `top_log_probs`, `prompt_log_probs`: how many of the most probable tokens are reported with each; None for none.
    `adapter`: its number, and where it lies.
    `task`: embed, classify, score... of a model that gives a vector instead of text.
    """

    max_tokens: int = 1
    end_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    log_probs: bool = False
    top_log_probs: int | None = None
    prompt_log_probs: int | None = None
    guide: tuple[str, str] | None = None
    bias: bytes = b""
    logit_bias: dict[int, float] | None = None
    perf_metrics: bool = False
    task: str = ""
    token_types: bytes = b""
    cache_salt: str = ""
    adapter: tuple[int, str] | None = None

    @property
    def told_log_probs(self) -> int | None:
        """How many log probabilities beside each token's own; None when even that is not asked for."""
        if self.top_log_probs is not None:
            return self.top_log_probs
        return 0 if self.log_probs else None

    @property
    def biases(self) -> dict[int, float]:
        values = array("f", self.bias)
        dense = {index: value for index, value in enumerate(values) if value}
        return {**dense, **(self.logit_bias or {})}
