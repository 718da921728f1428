"""From a config and a checkpoint to an OpenVINO graph: a stateful decoder.

Inputs: `input_ids`, `attention_mask` (past and present), `position_ids`, all i64 [batch, tokens], and `beam_idx`, i32
[batch]. Output: `logits`, f32 [batch, tokens, vocabulary]; for an EAGLE-3 head also `last_hidden_state`, what goes into
the layers that the head sees, f32 [batch, tokens, 3 * hidden].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from stoker.errors import DamagedModelError
from stoker.kinds.openvino.build.adapters import Adapters
from stoker.kinds.openvino.build.attention import Cache, Step, attend
from stoker.kinds.openvino.build.encoding import Checkpoint, Encoding, Value
from stoker.kinds.openvino.build.families import describe
from stoker.kinds.openvino.build.families.spec import Decoder, Experts, Layer, Mlp, Rope
from stoker.kinds.openvino.build.layerwise import Joint, LayerPass, apart, ending_apart, joined
from stoker.kinds.openvino.build.masks import Masks
from stoker.kinds.openvino.build.mlp import feed_forward
from stoker.kinds.openvino.build.moe import mixture
from stoker.kinds.openvino.build.norms import rms_norm
from stoker.kinds.openvino.build.rope import Rotation, rotation
from stoker.kinds.openvino.build.rows import SAMPLED, AsTheyAre, FilledUp, Rows
from stoker.kinds.openvino.build.weights import Linear, Weights

HIDDEN = "last_hidden_state"
_SEEN = "eagle3_hidden_states_concat"  # the name by which GenAI finds it


def build_graph(
    config: Mapping[str, object],
    checkpoint: Checkpoint,
    encoding: Encoding,
    max_seq_len: int | None = None,
    layer_pass: LayerPass | None = None,
    *,
    few_rows: bool = False,
    adapters: bool = False,
    seen: Sequence[int] = (),
) -> ov.Model:
    """The decoder's graph, its constants shared with the checkpoint's memory map where the encoding allows it.

    `max_seq_len`, in tokens (the config's `max_position_embeddings` if None), chooses between longrope's short and
    long factors. `layer_pass` remakes each layer before the next is built. `few_rows`: for matrix
    products that want more rows than a step has (see `rows`); no dense decoder is changed by it, nor one of experts.
    `seen`: the layers whose inputs an EAGLE-3 head sees.
    The graph's rt_info has under "stoker": `attention`, "paged" or, where paged attention cannot express the model's,
    "dense". With `adapters` it takes some beside the base (adapters.py), and its `targets` say where.
    What is compiled from the graph without saving it must not outlive it.
    Raises UnsupportedModelError and DamagedModelError.
    """
    decoder = describe(config, max_seq_len)
    weights = Weights(checkpoint, encoding, _root(decoder, checkpoint))
    graph = _Graph(decoder, weights, layer_pass, few_rows=few_rows and not seen, adapters=adapters)
    model = graph.model(seen)
    weights.refuse_leftovers(decoder.ignored)
    model.set_rt_info("dense" if decoder.dense else "paged", ["stoker", "attention"])
    if graph.adapters is not None:
        model.targets = graph.adapters.document()
    model.memory = (checkpoint, encoding)  # shared constants do not keep their memory alive
    return model


def hidden_states(
    config: Mapping[str, object], checkpoint: Checkpoint, encoding: Encoding, max_seq_len: int | None = None
) -> tuple[ov.Node, list[ov.Node]]:
    """The same decoder without state and without its output matrix: normalised last hidden states, and the parameters
    `input_ids` and `attention_mask`."""
    decoder = describe(config, max_seq_len)
    weights = Weights(checkpoint, encoding, _root(decoder, checkpoint, bare=True))
    graph = _Graph(decoder, weights, None, stateful=False)
    hidden = graph.normed(graph.hidden()[0])
    weights.refuse_leftovers((*decoder.ignored, "lm_head."))
    return hidden, graph.parameters


def _root(decoder: Decoder, checkpoint: Checkpoint, bare: bool = False) -> str:
    """`bare`: the checkpoint may also be of the decoder alone."""
    for prefix in (*decoder.prefixes, *([""] if bare else [])):
        if f"{prefix}embed_tokens.weight" in checkpoint:
            return prefix
    raise DamagedModelError(f"tensor {decoder.prefixes[0]}embed_tokens.weight is missing from the checkpoint")


class _Graph:
    """The graph in the making."""

    def __init__(
        self,
        decoder: Decoder,
        weights: Weights,
        layer_pass: LayerPass | None,
        *,
        stateful: bool = True,
        few_rows: bool = False,
        adapters: bool = False,
    ) -> None:
        self.decoder, self.weights, self.layer_pass = decoder, weights, layer_pass
        self.input_ids = parameter("input_ids", [-1, -1])
        self.adapters = Adapters(self.input_ids, decoder) if adapters else None
        self.weights.adapters = self.adapters
        self.attention_mask = parameter("attention_mask", [-1, -1])
        self.parameters = [self.input_ids, self.attention_mask]
        self.cache, past = state(self.input_ids) if stateful else (Cache(None, None, []), [])
        self.parameters += past
        self.position_ids = past[0] if stateful else counted(self.input_ids)
        self.rows = self._filled_up() if few_rows and not (decoder.dense or decoder.of_experts) else AsTheyAre()
        self.masks = Masks(self.input_ids, self.attention_mask)
        self.turns: dict[Rope, Rotation] = {}
        self.entered: list[ov.Node] = []
        if self.adapters is not None:
            self.adapters.listen(self.cache, self.position_ids, self.masks.mask(None), self.rows)

    def _filled_up(self) -> Rows:
        self.parameters.append(parameter(SAMPLED, [-1]))
        return FilledUp(self.input_ids, self.parameters[-1])

    def model(self, seen: Sequence[int] = ()) -> ov.Model:
        hidden, table = self.hidden()
        results = [result(self._ended(hidden, table), "logits")]
        if seen:
            both = ops.concat([self.entered[index] for index in seen], -1)
            both.set_friendly_name(_SEEN)
            results.append(result(both, HIDDEN))
        return ov.Model(results, self.cache.sinks, self.parameters, "decoder")

    def hidden(self) -> tuple[ov.Node, ov.Output]:
        """The last layer's hidden states, and the table that the first came from."""
        hidden, table = self._embedded()
        self.entered = [hidden]  # what goes into each layer, and what comes out of the last
        for index, layer in enumerate(self.decoder.layers):
            hidden = self._added(hidden, layer, index)
            self.entered.append(hidden)
        return hidden, table

    def _embedded(self) -> tuple[ov.Node, ov.Output]:
        """Hidden states and the table that they came from."""
        shape = (self.decoder.vocabulary_size, self.decoder.hidden_size)
        table = self.weights.embedding(f"{self.weights.root}embed_tokens.weight", shape)
        indices = ops.convert(self.adapters.ids if self.adapters else self.input_ids, "i32")
        found = self.rows.filled(ops.gather(table, indices, np.int32(0)))
        return _scaled(found, self.decoder.embedding_scale), table

    def _added(self, hidden: ov.Node, layer: Layer, index: int) -> ov.Node:
        step = self._step(layer)
        if self.layer_pass is None:
            return self._layer(hidden, layer, index, step)
        graph, inputs = apart(hidden, step, lambda alone, its: self._layer(alone, layer, index, its))
        return joined(self.layer_pass(graph, Joint(inputs, self.parameters)), inputs, self.cache)

    def _ended(self, hidden: ov.Node, table: Value) -> ov.Node:
        if self.layer_pass is None:
            return self._logits(hidden, table)
        graph, inputs = ending_apart(hidden, lambda alone: self._logits(alone, table))
        return joined(self.layer_pass(graph, Joint(inputs, self.parameters, ending=True)), inputs, self.cache)

    def _layer(self, hidden: ov.Node, layer: Layer, index: int, step: Step) -> ov.Node:
        name, norms, width = f"{self.weights.root}layers.{index}", layer.norms, self.decoder.hidden_size
        x = self._norm(hidden, name, norms.before_attention)
        x = attend(x, layer.attention, self.weights, f"{name}.self_attn", width, index, step)
        x = self._norm(x, name, norms.after_attention)
        hidden = ops.add(hidden, _scaled(x, layer.residual_scale))
        x = self._norm(hidden, name, norms.before_mlp)
        x = self._norm(self._block(x, layer.mlp, name), name, norms.after_mlp)
        return ops.add(hidden, _scaled(x, layer.residual_scale))

    def _block(self, x: Value, spec: Mlp | Experts, layer: str) -> ov.Node:
        if isinstance(spec, Experts):
            return mixture(x, spec, self.weights, layer, self.decoder.hidden_size)
        return feed_forward(x, spec, self.weights, layer, self.decoder.hidden_size)

    def _step(self, layer: Layer) -> Step:
        mask = self.masks.mask(layer.attention.window)
        turn, decoder = self._turn(layer.attention.rope), self.decoder
        return Step(self.cache, turn, mask, decoder.norm_eps, decoder.norm_offset, self.rows)

    def _turn(self, rope: Rope | None) -> Rotation | None:
        if rope is None:
            return None
        if rope not in self.turns:
            self.turns[rope] = rotation(rope, self.position_ids)
        return self.turns[rope]

    def _norm(self, x: ov.Node, prefix: str, name: str | None = "") -> ov.Node:
        if name is None:
            return x
        full = f"{prefix}.{name}" if name else prefix
        weight = self.weights.vector(f"{full}.weight", self.decoder.hidden_size, self.decoder.norm_offset)
        return rms_norm(x, weight, self.decoder.norm_eps)

    def normed(self, hidden: ov.Node) -> ov.Node:
        return self._norm(hidden, f"{self.weights.root}norm")

    def _logits(self, hidden: ov.Node, table: Value) -> ov.Node:
        """The soft cap is written as OpenVINO GenAI looks for it."""
        normed = _scaled(self.normed(hidden), self.decoder.logits_scale)
        logits = self.rows.ended(normed, self._head(table))
        if self.decoder.logits_softcap is None:
            return logits
        cap = np.float32(self.decoder.logits_softcap)
        return ops.multiply(ops.tanh(ops.divide(logits, cap)), cap)

    def _head(self, table: Value) -> Linear:
        """A tied head is the embedding itself, unless the checkpoint has another one (as transformers 5 does it)."""
        root = self.weights.root
        beside = f"{root.removesuffix('model.')}lm_head"
        name = beside if f"{beside}.weight" in self.weights.checkpoint else "lm_head"
        if self.decoder.tied and self.weights.repeats(f"{name}.weight", f"{root}embed_tokens.weight"):
            if not self.weights.encoding.head_apart:
                return Linear(table, None)
            name = f"{root}embed_tokens"
        return self.weights.linear(name, (self.decoder.vocabulary_size, self.decoder.hidden_size))


def _scaled(x: ov.Node, factor: float) -> ov.Node:
    return x if factor == 1.0 else ops.multiply(x, np.float32(factor))


def state(ids: Value) -> tuple[Cache, list[ov.Node]]:
    """An empty cache, and the parameters that come with it: `position_ids` and `beam_idx`."""
    beam_idx = parameter("beam_idx", [-1], np.int32)
    past = [parameter("position_ids", [-1, -1]), beam_idx]
    batch = ops.gather(ops.shape_of(ids), np.array([0], np.int64), np.int64(0))
    return Cache(beam_idx, batch, []), past


def counted(ids: Value) -> ov.Node:
    """0, 1, 2... for each row of ids, [batch, tokens]."""
    ones = ops.add(ops.multiply(ids, np.int64(0)), np.int64(1))
    return ops.cum_sum(ones, np.int64(1), True, False)


def result(node: ov.Node, name: str) -> ov.Node:
    node.output(0).get_tensor().set_names({name})
    return ops.result(node)


def parameter(name: str, shape: list[int], kind: type[np.generic] = np.int64) -> ov.Node:
    node = ops.parameter(shape, kind)
    node.set_friendly_name(name)
    node.output(0).get_tensor().set_names({name})
    return node
