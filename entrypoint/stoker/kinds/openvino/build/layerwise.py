"""One decoder layer as a graph of its own, for what has to look at a layer before the next one is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from stoker.kinds.openvino.build.attention import Cache, Step
from stoker.kinds.openvino.build.rope import Rotation

HIDDEN = "hidden"
"""Name of the parameter for hidden states, [batch, tokens, hidden]."""

BATCH = "batch"


@dataclass(frozen=True)
class Joint:
    """Where a layer joins the whole graph: what feeds each of its parameters, by the parameter's name, and the
    parameters of the whole graph. `ending`: it is what comes after the last layer, from hidden states to logits."""

    inputs: Mapping[str, ov.Node]
    parameters: Sequence[ov.Node]
    ending: bool = False


class LayerPass(Protocol):
    """Remakes a decoder's layers in turn, and last the ending.

    Parameters and their names, states and the one result remain.
    """

    def __call__(self, layer: ov.Model, joint: Joint) -> ov.Model: ...


def apart(hidden: ov.Node, step: Step, make: Callable[[ov.Node, Step], ov.Node]) -> tuple[ov.Model, dict[str, ov.Node]]:
    """The graph of the layer that `make(hidden, step)` builds, with a parameter in the place of each thing it needs;
    and these things, by the names of the parameters."""
    inputs = _needed(hidden, step)
    own = {name: _parameter(name, value) for name, value in inputs.items()}
    cache = Cache(own["beam_idx"], _batch(own[HIDDEN]), [])
    turn = step.turn and Rotation(own["cosine"], own["sine"], step.turn.size)
    result = ops.result(make(own[HIDDEN], replace(step, cache=cache, turn=turn, mask=own["mask"])))
    result.input_value(0).get_tensor().set_names({"layer"})
    return ov.Model([result], cache.sinks, list(own.values()), "layer"), inputs


def ending_apart(hidden: ov.Node, make: Callable[[ov.Node], ov.Node]) -> tuple[ov.Model, dict[str, ov.Node]]:
    """The same for what follows the last layer and needs the hidden states only."""
    own = _parameter(HIDDEN, hidden)
    return ov.Model([ops.result(make(own))], [own], "ending"), {HIDDEN: hidden}


def joined(layer: ov.Model, inputs: Mapping[str, ov.Node], cache: Cache) -> ov.Node:
    """The hidden states after `layer`, which becomes part of the graph that `inputs` and `cache` are of."""
    replacements = {**inputs, BATCH: cache.batch}
    for node in layer.get_ops():
        source = replacements.get(node.get_friendly_name())
        if source is not None:
            _feed(node, source)
    cache.sinks += layer.get_sinks()
    last = layer.get_results()[0].input_value(0)
    last.get_tensor().set_names(set())
    return last.get_node()


def _feed(node: ov.Node, source: ov.Node) -> None:
    """What took `node`'s output takes that of `source` instead."""
    for target in node.output(0).get_target_inputs():
        target.replace_source_output(source.output(0))


def _needed(hidden: ov.Node, step: Step) -> dict[str, ov.Node]:
    assert step.cache.beam_idx is not None
    inputs = {HIDDEN: hidden, "mask": step.mask, "beam_idx": step.cache.beam_idx}
    if step.turn is not None:
        inputs |= {"cosine": step.turn.cosine, "sine": step.turn.sine}
    return inputs


def _parameter(name: str, source: ov.Node) -> ov.Node:
    output = source.output(0)
    node = ops.parameter(output.get_partial_shape(), output.get_element_type())
    node.set_friendly_name(name)
    node.output(0).get_tensor().set_names({name})
    return node


def _batch(hidden: ov.Node) -> ov.Node:
    """No parameter: from one, the shapes of the states would not be known."""
    node = ops.gather(ops.shape_of(hidden), np.array([0], np.int64), np.int64(0))
    node.set_friendly_name(BATCH)
    return node
