"""The graphs of models that give no text.

Inputs: `input_ids` and `attention_mask`, and for models that tell two texts apart `token_type_ids`, all i64
[batch, tokens], padded at the end. Output: `embedding`, f32 [batch, width], of a cross-encoder [batch, 1].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from stoker.errors import DamagedModelError
from stoker.kinds.openvino.build.builder import counted, hidden_states, parameter
from stoker.kinds.openvino.build.encoding import Checkpoint, Encoding, Value
from stoker.kinds.openvino.build.families import ENCODERS, describe_encoder
from stoker.kinds.openvino.build.families.family import architecture_of
from stoker.kinds.openvino.build.families.spec import Encoder
from stoker.kinds.openvino.build.masks import HIDDEN
from stoker.kinds.openvino.build.mlp import activated
from stoker.kinds.openvino.build.norms import layer_norm
from stoker.kinds.openvino.build.pooling import first, pooled
from stoker.kinds.openvino.build.weights import Weights
from stoker.resolve.model import Pooling

_HEADS = np.array([0, 2, 1, 3], np.int64)
_UNUSED = ("pooler.", "cls.", "lm_head.")  # heads of the training that came before


def build_pooled(
    config: Mapping[str, object],
    checkpoint: Checkpoint,
    encoding: Encoding,
    pooling: Pooling,
    max_seq_len: int | None = None,
) -> ov.Model:
    """The graph of an encoder, or of a decoder whose last hidden states are pooled. Lives as long as `build_graph`'s.

    Raises UnsupportedModelError and DamagedModelError.
    """
    if architecture_of(config) in ENCODERS:
        graph = _encoder_graph(describe_encoder(config), checkpoint, encoding, pooling)
    else:
        hidden, parameters = hidden_states(config, checkpoint, encoding, max_seq_len)
        graph = _model(pooled(hidden, parameters[1], pooling), parameters)
    graph.memory = (checkpoint, encoding)
    return graph


def _encoder_graph(encoder: Encoder, checkpoint: Checkpoint, encoding: Encoding, pooling: Pooling) -> ov.Model:
    weights = Weights(checkpoint, encoding, _root(encoder, checkpoint))
    making = _Encoder(encoder, weights)
    hidden = making.hidden()
    result = making.score(hidden) if encoder.head else pooled(hidden, making.attention_mask, pooling)
    weights.refuse_leftovers((*_UNUSED, f"{weights.root}pooler."))
    return _model(result, making.parameters)


def _root(encoder: Encoder, checkpoint: Checkpoint) -> str:
    for prefix in (encoder.prefix, ""):
        if f"{prefix}embeddings.word_embeddings.weight" in checkpoint:
            return prefix
    raise DamagedModelError("tensor embeddings.word_embeddings.weight is missing from the checkpoint")


def _model(result: ov.Node, parameters: list[ov.Node]) -> ov.Model:
    result.output(0).get_tensor().set_names({"embedding"})
    return ov.Model([ops.result(result)], parameters, "encoder")


class _Encoder:
    """The graph in the making."""

    def __init__(self, encoder: Encoder, weights: Weights) -> None:
        self.encoder, self.weights = encoder, weights
        self.input_ids = parameter("input_ids", [-1, -1])
        self.attention_mask = parameter("attention_mask", [-1, -1])
        self.parameters = [self.input_ids, self.attention_mask]
        if encoder.token_types > 1:
            self.parameters.append(parameter("token_type_ids", [-1, -1]))
        present = ops.unsqueeze(ops.convert(self.attention_mask, "boolean"), np.array([1, 2], np.int64))
        self.mask = ops.select(present, np.float32(0), HIDDEN)

    def hidden(self) -> ov.Node:
        """The last hidden states, [batch, tokens, hidden]."""
        hidden = self._embedded()
        for index in range(self.encoder.layers):
            hidden = self._layer(hidden, f"{self.weights.root}encoder.layer.{index}")
        return hidden

    def score(self, hidden: Value) -> ov.Node:
        """[batch, 1], from the first token: what the head was trained to give, before any sigmoid."""
        root, width = self.weights.root, self.encoder.hidden_size
        pooler = self.encoder.head == "pooler"
        inner, outer = (f"{root}pooler.dense", "classifier") if pooler else ("classifier.dense", "classifier.out_proj")
        pressed = ops.tanh(self.weights.linear(inner, (width, width), bias=True)(first(hidden)))
        return self.weights.linear(outer, (1, width), bias=True)(pressed)

    def _embedded(self) -> ov.Node:
        name, encoder, weights = f"{self.weights.root}embeddings", self.encoder, self.weights
        words = weights.embedding(f"{name}.word_embeddings.weight", (encoder.vocabulary_size, encoder.hidden_size))
        sizes = {"position": encoder.positions, "token_type": encoder.token_types}
        positions, types = (
            weights.uncompressed(f"{name}.{table}_embeddings.weight", (size, encoder.hidden_size))
            for table, size in sizes.items()
        )
        whole = ops.add(_looked_up(words, self.input_ids), _looked_up(types, self._token_types()))
        return self._norm(ops.add(whole, _looked_up(positions, self._positions())), f"{name}.LayerNorm")

    def _token_types(self) -> ov.Node:
        if self.encoder.token_types > 1:
            return self.parameters[-1]
        return ops.multiply(self.input_ids, np.int64(0))

    def _positions(self) -> ov.Node:
        """[batch, tokens]; as RoBERTa counts them, a token that is the padding id has the padding's position."""
        padding = self.encoder.padding
        if padding is None:
            return counted(self.input_ids)
        text = ops.convert(ops.not_equal(self.input_ids, np.int64(padding)), "i64")
        return ops.add(ops.multiply(ops.cum_sum(text, np.int64(1)), text), np.int64(padding))

    def _layer(self, hidden: Value, name: str) -> ov.Node:
        width, size = self.encoder.hidden_size, self.encoder.intermediate_size
        mixed = self._dense(self._attended(hidden, f"{name}.attention.self"), f"{name}.attention.output.dense", width)
        hidden = self._norm(ops.add(mixed, hidden), f"{name}.attention.output.LayerNorm")
        inner = activated(self._dense(hidden, f"{name}.intermediate.dense", size), self.encoder.activation)
        outer = self.weights.linear(f"{name}.output.dense", (width, size), bias=True)(inner)
        return self._norm(ops.add(outer, hidden), f"{name}.output.LayerNorm")

    def _attended(self, hidden: Value, name: str) -> ov.Node:
        heads, width = self.encoder.heads, self.encoder.hidden_size
        widths = dict.fromkeys(("query", "key", "value"), width)
        apart = np.array([0, 0, heads, width // heads], np.int64)
        parts = self.weights.linears(hidden, name, widths, width, bias=True)
        query, key, value = (ops.transpose(ops.reshape(part, apart, True), _HEADS) for part in parts)
        scale = np.float32((width // heads) ** -0.5)
        mixed = ops.scaled_dot_product_attention(query, key, value, self.mask, scale, False)
        return ops.reshape(ops.transpose(mixed, _HEADS), np.array([0, 0, width], np.int64), True)

    def _dense(self, x: Value, name: str, size: int) -> ov.Node:
        return self.weights.linear(name, (size, self.encoder.hidden_size), bias=True)(x)

    def _norm(self, x: Value, name: str) -> ov.Node:
        weight, bias = (self.weights.vector(f"{name}.{part}", self.encoder.hidden_size) for part in ("weight", "bias"))
        return layer_norm(x, weight, bias, self.encoder.norm_eps)


def _looked_up(table: Value, ids: Value) -> ov.Node:
    return ops.gather(table, ops.convert(ids, "i32"), np.int32(0))
