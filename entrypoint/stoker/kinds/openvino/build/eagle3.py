"""The graph of an EAGLE-3 head (arXiv 2503.01840), as OpenVINO GenAI takes it beside a model.

Inputs: those of a decoder, and `hidden_states`, f32 [batch, tokens, 3 * hidden]: what went into three of the model's
layers. Outputs: `logits` over the head's own tokens, `last_hidden_state`, which a next guess starts from, and a
constant whose name is d2t: what to add to a token of the head to have the model's. When it opens both graphs, GenAI
moves the matrix `fc` into the model's, and puts the model's embedding in the place of the head's, which has none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from stoker.kinds.openvino.build.attention import Step, attend
from stoker.kinds.openvino.build.builder import HIDDEN, parameter, result, state
from stoker.kinds.openvino.build.encoding import Checkpoint, Encoding, Value
from stoker.kinds.openvino.build.families.eagle3 import describe_head
from stoker.kinds.openvino.build.families.spec import Decoder, Mlp
from stoker.kinds.openvino.build.masks import Masks
from stoker.kinds.openvino.build.mlp import feed_forward
from stoker.kinds.openvino.build.norms import rms_norm
from stoker.kinds.openvino.build.rope import rotation
from stoker.kinds.openvino.build.rows import AsTheyAre
from stoker.kinds.openvino.build.weights import Weights
from stoker.resolve.heads import MAP, head_vocabulary, seen_layers

_LAYERS = ("midlayer", "layers.0")  # what the head's layer may be called
_UNUSED = (MAP, "t2d", "embed_tokens.")


def build_head(
    config: Mapping[str, object], layers: int, checkpoint: Checkpoint, encoding: Encoding, max_seq_len: int
) -> ov.Model:
    """`layers`: of the model that it guesses for. Raises UnsupportedModelError and DamagedModelError."""
    decoder = describe_head(config, layers, max_seq_len)
    weights = Weights(checkpoint, encoding, "")
    model = _Head(decoder, weights, head_vocabulary(config)).model()
    weights.refuse_leftovers(_UNUSED)
    model.set_rt_info("true", "eagle3_mode")
    model.set_rt_info(list(seen_layers(config, layers)), "hidden_layers_list")  # GenAI wants three; ours are outputs
    model.memory = (checkpoint, encoding)  # shared constants do not keep their memory alive
    return model


class _Head:
    """The graph in the making."""

    def __init__(self, decoder: Decoder, weights: Weights, vocabulary: int) -> None:
        self.decoder, self.weights, self.vocabulary = decoder, weights, vocabulary
        self.name = next((name for name in _LAYERS if f"{name}.hidden_norm.weight" in weights.checkpoint), _LAYERS[0])
        self.ids, mask = (parameter(name, [-1, -1]) for name in ("input_ids", "attention_mask"))
        self.cache, (position_ids, beam_idx) = state(self.ids)
        self.seen = parameter("hidden_states", [-1, -1, -1], np.float32)
        self.parameters = [self.ids, mask, position_ids, beam_idx, self.seen]
        rope = decoder.layers[0].attention.rope
        turn = rotation(rope, position_ids) if rope else None
        causal = Masks(self.ids, mask).mask(None)
        self.step = Step(self.cache, turn, causal, decoder.norm_eps, decoder.norm_offset, AsTheyAre())

    def model(self) -> ov.Model:
        hidden = self._hidden()
        head = self.weights.linear("lm_head", (self.vocabulary, self.decoder.hidden_size))
        logits = head(self._norm(hidden, "norm"))
        results = [result(logits, "logits"), result(hidden, HIDDEN)]
        if MAP in self.weights.checkpoint:
            table = ops.constant(self.weights.checkpoint.tensor(MAP).data.astype(np.int64))
            table.set_friendly_name(MAP)
            results.append(ops.result(table))
        return ov.Model(results, self.cache.sinks, self.parameters, "head")

    def _hidden(self) -> ov.Node:
        width, layer = self.decoder.hidden_size, self.decoder.layers[0]
        assert isinstance(layer.mlp, Mlp)
        hidden = self.weights.linear("fc", (width, 3 * width))(self.seen)
        read = [
            self._norm(self._embedded(), f"{self.name}.input_layernorm"),
            self._norm(hidden, f"{self.name}.hidden_norm"),
        ]
        attention = f"{self.name}.self_attn"
        both = ops.concat(read, -1)
        mixed = attend(both, layer.attention, self.weights, attention, width, 0, self.step, inputs=2 * width)
        hidden = ops.add(hidden, mixed)
        x = self._norm(hidden, f"{self.name}.post_attention_layernorm")
        return ops.add(hidden, feed_forward(x, layer.mlp, self.weights, self.name, width))

    def _embedded(self) -> ov.Node:
        """From a table of zeros that takes no room in the file, and that GenAI replaces."""
        shape = np.array([self.decoder.vocabulary_size, self.decoder.hidden_size], np.int64)
        table = ops.broadcast(np.float32(0), shape)
        table.set_friendly_name("embed_tokens")
        return ops.gather(table, ops.convert(self.ids, "i32"), np.int32(0))

    def _norm(self, x: Value, name: str) -> ov.Node:
        weight = self.weights.vector(f"{name}.weight", self.decoder.hidden_size)
        return rms_norm(x, weight, self.decoder.norm_eps)
