"""LoRA adapters in PEFT's format: what adapter_config.json may say, and the tensors of adapter_model.safetensors.

An adapter adds scale * B (A x) to a projection y = W x; A is [rank, inputs], B [outputs, rank]. Whatever else PEFT can
train is refused by name, since leaving it out would change the answers. Format: peft.LoraConfig of PEFT 0.21.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from stoker.errors import DamagedModelError, UnsupportedModelError
from stoker.resolve.numbers import real, shown, whole

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_BYTES = 8 << 30  # of the weights: rank 256 on every projection of a model of 70 billion parameters has 6 GB
PREFIX = "base_model.model."
_TENSOR = re.compile(re.escape(PREFIX) + r"(?P<module>.+)\.lora_(?P<part>[AB])\.weight")

_Number = TypeVar("_Number", bound=float)
_MOST_PATTERNS = 4096
_PLAIN_PATTERN = re.compile(r"\^?[A-Za-z0-9_.\\|()$]{1,256}")  # no repetition: it cannot take long to match

# What must not be switched on, and what to call it.
_REFUSED = {
    "use_dora": "DoRA",
    "modules_to_save": "retrained copies of whole modules",
    "trainable_token_indices": "retrained embeddings of tokens",
    "target_parameters": "adapters of parameters that are no module's weight",
    "layer_replication": "replicated layers",
    "fan_in_fan_out": "transposed weights",
    "lora_bias": "biases in the adapter",
    "alora_invocation_tokens": "activated LoRA",
    "use_bdlora": "block-diagonal LoRA",
    "use_qalora": "quantisation-aware LoRA",
    "arrow_config": "routing between adapters",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "Megatron's layers",
}


@dataclass(frozen=True)
class LoraConfig:
    """`base`: the model that it was made for, as its maker called it. `scale` of a module's adapter is `alpha` over its
    rank, or with `stabilised` (rsLoRA) over the rank's square root; patterns give other numbers for some modules."""

    base: str
    rank: int
    alpha: float
    stabilised: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]

    def rank_of(self, module: str) -> int:
        return int(_of_pattern(self.ranks, module, self.rank))

    def scale(self, module: str) -> float:
        rank, alpha = self.rank_of(module), float(_of_pattern(self.alphas, module, self.alpha))
        return alpha / (math.sqrt(rank) if self.stabilised else rank)

    @property
    def largest_rank(self) -> int:
        return max([self.rank, *self.ranks.values()])


def _of_pattern(patterns: Mapping[str, float], module: str, usual: float) -> float:
    """As PEFT finds it: the first pattern that the module's name ends with, a regular expression."""
    for pattern, value in patterns.items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return usual


def read_lora_config(config: Mapping[str, object], place: str) -> LoraConfig:
    """UnsupportedModelError names what is not supported; DamagedModelError a value that makes no sense."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UnsupportedModelError(f"{place} is not a LoRA adapter", why=f"its peft_type is {shown(kind)}")
    for key, name in _REFUSED.items():
        if config.get(key):
            raise _refused(place, f"{name} ({key} = {shown(config[key])})")
    if config.get("bias") not in (None, "none"):
        raise _refused(place, f"retrained biases (bias = {shown(config['bias'])})")
    for key, value in config.items():
        if key.startswith("use_") and value is True and key != "use_rslora":
            raise _refused(place, f"{key[:80]}, which this version does not know")
    return LoraConfig(
        base=str(config.get("base_model_name_or_path") or ""),
        rank=whole(config, "r", 8, file=f"{place}: {CONFIG}"),
        alpha=real(config, "lora_alpha", 8.0, file=f"{place}: {CONFIG}"),
        stabilised=config.get("use_rslora") is True,
        ranks=_patterns(config, "rank_pattern", place, (int,)),
        alphas=_patterns(config, "alpha_pattern", place, (int, float)),
    )


_MERGE = "merge the adapter into its base with PEFT's merge_and_unload, and serve the result"


def _refused(place: str, what: str) -> UnsupportedModelError:
    why = "leaving that out would change its answers"
    return UnsupportedModelError(f"{place} is more than a LoRA: it uses {what}", why=why, remedy=_MERGE)


def _patterns(
    config: Mapping[str, object], key: str, place: str, kind: tuple[type[_Number], ...]
) -> dict[str, _Number]:
    found = config.get(key) or {}
    if not isinstance(found, Mapping) or len(found) > _MOST_PATTERNS:
        raise DamagedModelError(f"{place}: {key} is damaged", why="it does not map names to numbers")
    for pattern, value in found.items():
        if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < math.inf:
            raise DamagedModelError(f"{place}: {key} is damaged", why=f"{pattern!r} is {shown(value)}")
        if not _PLAIN_PATTERN.fullmatch(pattern):
            raise UnsupportedModelError(f"{place}: {key} has the pattern {pattern[:80]!r}", why="only names are read")
    return dict(found)


_LAYERS = "layers."


def in_layer(module: str) -> str:
    """A module's name from its layer on: what is before that differs with the class that a model was loaded with."""
    return module[module.rindex(_LAYERS) :] if _LAYERS in module else module


@dataclass(frozen=True)
class Part:
    """One tensor of an adapter: "A" or "B" of the module."""

    module: str
    part: str


def part_of(tensor: str, place: str) -> Part:
    """UnsupportedModelError for a tensor that is no part of a LoRA."""
    match = _TENSOR.fullmatch(tensor)
    if match is None:
        whole_matrix = tensor.endswith(("embed_tokens.weight", "lm_head.weight"))
        why = "tokens were added, or embeddings retrained" if whole_matrix else "it is no part of a LoRA"
        raise UnsupportedModelError(
            f"{place} holds the tensor {tensor[:200]}",
            why=why,
            remedy=_MERGE,
        )
    return Part(match["module"], match["part"])
