"""What a decoder, or an encoder, is made of: the data that a family module distils from config.json and the graph is
built from.

Nothing here imports openvino or numpy, so that a config can be checked in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rope:
    """Rotary embedding over the first `2 * len(frequencies)` elements of a head.

    `frequencies` are radians per position; `amplitude` multiplies both cosine and sine.
    """

    frequencies: tuple[float, ...]
    amplitude: float = 1.0


@dataclass(frozen=True)
class Attention:
    """`norm`: "none", "head" (over each head) or "width" (over all heads at once), on queries and keys.

    `window` counts the tokens a query sees, itself included. `fused` means one `qkv_proj`. `rope` None means that
    positions are not encoded.
    """

    heads: int
    kv_heads: int
    head_size: int
    scale: float
    rope: Rope | None = None
    window: int | None = None
    softcap: float | None = None
    norm: str = "none"
    fused: bool = False
    input_bias: bool = False
    output_bias: bool = False


@dataclass(frozen=True)
class Mlp:
    """A gated feed-forward block. `activation`: "silu", "gelu" or "gelu_tanh". `fused` means one `gate_up_proj`."""

    size: int
    activation: str = "silu"
    fused: bool = False
    bias: bool = False


@dataclass(frozen=True)
class Experts:
    """A mixture of gated feed-forward blocks, named `{block}.experts.{i}.{gate|up|down}`, routed by `{block}.gate`."""

    count: int
    active: int
    size: int
    normalised: bool
    block: str = "mlp"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"


@dataclass(frozen=True)
class Norms:
    """Names of a layer's norms; None where there is none."""

    before_attention: str | None = "input_layernorm"
    after_attention: str | None = None
    before_mlp: str | None = "post_attention_layernorm"
    after_mlp: str | None = None


@dataclass(frozen=True)
class Layer:
    attention: Attention
    mlp: Mlp | Experts
    norms: Norms = field(default_factory=Norms)
    residual_scale: float = 1.0


@dataclass(frozen=True)
class Decoder:
    """`norm_offset` is added to every norm's weight (Gemma stores weight - 1). `prefixes`: where the decoder's
    tensors may live, the first that is found counts; `ignored`: prefixes of tensors that belong to other towers."""

    layers: tuple[Layer, ...]
    hidden_size: int
    vocabulary_size: int
    norm_eps: float
    norm_offset: float = 0.0
    tied: bool = False
    embedding_scale: float = 1.0
    logits_scale: float = 1.0
    logits_softcap: float | None = None
    prefixes: tuple[str, ...] = ("model.",)
    ignored: tuple[str, ...] = ()

    @property
    def dense(self) -> bool:
        """Whether some layer's attention cannot be expressed by OpenVINO's paged attention operation."""
        return any(layer.attention.softcap is not None for layer in self.layers)

    @property
    def of_experts(self) -> bool:
        return any(isinstance(layer.mlp, Experts) for layer in self.layers)


@dataclass(frozen=True)
class Encoder:
    """Layers in which every token sees every other, each block normalised after its residual.

    `padding` is the id after which positions are counted, past tokens of that id; None counts all from 0. `head`, of
    a cross-encoder: "pooler" (BERT's, with a classifier after it) or "classifier" (RoBERTa's, of two layers); empty
    without. `prefix` is what the tensors' names begin with where there is a head.
    """

    layers: int
    heads: int
    hidden_size: int
    intermediate_size: int
    vocabulary_size: int
    positions: int
    token_types: int
    norm_eps: float
    activation: str
    prefix: str
    padding: int | None = None
    head: str = ""
