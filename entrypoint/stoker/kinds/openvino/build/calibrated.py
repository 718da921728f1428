"""Precisions that look at what flows through the model on a calibration text: AWQ, GPTQ and SmoothQuant, by NNCF.

AWQ (arXiv:2306.00978), GPTQ (arXiv:2210.17323) and SmoothQuant (arXiv:2211.10438) as NNCF implements them, one decoder
layer at a time: besides the engine itself, a build holds one layer in full precision, and the calibration text's
hidden states. Each layer sees what the quantised layers before it make of the text, so that it can make up for them.
NNCF resets a stateful model before each sample.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops

from stoker.build.calibration import read_text, token_chunks
from stoker.errors import BuildError
from stoker.kinds.openvino.build.blocks import Floats, forget
from stoker.kinds.openvino.build.encoding import Checkpoint
from stoker.kinds.openvino.build.int8 import Int8
from stoker.kinds.openvino.build.layerwise import HIDDEN, Joint
from stoker.kinds.openvino.build.plain import PlainEncoding, owning, stored, widened
from stoker.plan.types import Chosen
from stoker.resolve.model import Model

SAMPLES = 64
SAMPLE_TOKENS = 128
GROUP_SIZE = 128
SMALLEST_GROUP = 32
SMOOTH_QUANT_ALPHA = 0.6
# Scale estimation lowers the error further after AWQ, but undoes part of what GPTQ gained (measured, demo model).
WEIGHT_ONLY: Mapping[str, Mapping[str, bool]] = {
    "int4_awq": {"awq": True, "scale_estimation": True},
    "int4_gptq": {"gptq": True},
}
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0", "KV_CACHE_PRECISION": "f32"}


class CompressedEnds:
    """`Encoding` for 4-bit calibration: embeddings and output matrix already in 8 bits, the rest plain."""

    head_apart: ClassVar[bool] = False

    def __init__(self, precision: str, threads: int) -> None:
        self._precision = precision
        self._plain, self._int8 = PlainEncoding(precision), Int8(threads)

    def linear(self, checkpoint: Checkpoint, prefix: str) -> ov.Output:
        return (self._int8 if prefix.endswith("lm_head") else self._plain).linear(checkpoint, prefix)

    def matrix(self, name: str, array: npt.NDArray[np.float32]) -> ov.Output:
        """A constant that owns its memory, which is then free again as soon as the constant has been quantised."""
        return widened(owning(stored(array, self._precision), self._precision, name))

    def embedding(self, checkpoint: Checkpoint, name: str) -> ov.Output:
        return self._int8.embedding(checkpoint, name)


class Calibration:
    """`LayerPass` that quantises each layer to `chosen.precision`, and keeps the hidden states for the next one.

    `calibration` is the user's own text, None for the package's. `seconds` is what all layers took so far. Raises
    UsageError for a text that cannot be used and BuildError where NNCF fails.
    """

    def __init__(self, model: Model, chosen: Chosen, calibration: Path | None, checkpoint: Checkpoint) -> None:
        assert model.directory is not None
        self._text = read_text(calibration)
        vocabulary = model.architecture.vocabulary_size
        self._ids = np.array(token_chunks(self._text, model.directory, SAMPLES, SAMPLE_TOKENS, vocabulary), np.int64)
        self._chosen, self._checkpoint = chosen, checkpoint
        self._hidden: Floats | None = None
        self.seconds = 0.0

    def __call__(self, layer: ov.Model, joint: Joint) -> ov.Model:
        if joint.ending and self._chosen.precision != "int8_sq":
            return layer  # its encoding has compressed it already
        start = time.monotonic()
        if self._hidden is None:
            self._hidden = embedded(joint, self._ids)
        samples = Samples(self._hidden, around(joint, self._ids[:1]))
        with _quiet():
            # a clone: the table of tied embeddings also belongs to the whole graph, where NNCF would lose its way
            layer = _quantized(layer.clone(), self._chosen, samples)
        if not joint.ending:
            samples.advance(layer)
        self._release()
        self.seconds += time.monotonic() - start
        return layer

    def _release(self) -> None:
        """Gives back what NNCF's graphs hold, which refer to themselves, and the pages of the checkpoint."""
        gc.collect()
        for name in self._checkpoint.names():
            forget(self._checkpoint.tensor(name).data)

    def record(self) -> dict[str, object]:
        """What engine.json says of it."""
        text = {"source": self._text.source, "sha256": self._text.digest}
        return {
            "calibration": {**text, "samples": len(self._ids), "tokens_per_sample": SAMPLE_TOKENS},
            "method": settings_of(self._chosen),
        }


class Samples:
    """A layer's inputs, one sample at a time. `hidden` is [samples, tokens, hidden]; all samples share the rest."""

    def __init__(self, hidden: Floats, rest: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._hidden, self._rest = hidden, rest

    def __len__(self) -> int:
        return len(self._hidden)

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
        for index in range(len(self)):
            yield {HIDDEN: self._hidden[index : index + 1], **self._rest}

    def advance(self, layer: ov.Model) -> None:
        """Replaces the hidden states by what `layer` makes of them."""
        request = ov.Core().compile_model(layer, "CPU", EXACT).create_infer_request()
        for index, inputs in enumerate(self):
            request.reset_state()
            self._hidden[index] = request.infer(inputs, share_outputs=True)[0][0]


def embedded(joint: Joint, ids: npt.NDArray[np.int64]) -> Floats:
    """The hidden states before the first layer."""
    return _evaluated([joint.inputs[HIDDEN]], joint, ids)[0].astype(np.float32, copy=False)


def around(joint: Joint, ids: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.generic]]:
    """What the layer needs beside the hidden states, for one sample; ids is [1, tokens]."""
    names = [name for name in joint.inputs if name != HIDDEN]
    if not names:
        return {}
    values = _evaluated([joint.inputs[name] for name in names], joint, ids)
    return dict(zip(names, values, strict=True))


def _evaluated(nodes: list[ov.Node], joint: Joint, ids: npt.NDArray[np.int64]) -> list[npt.NDArray[np.generic]]:
    batch, tokens = ids.shape
    inputs = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.broadcast_to(np.arange(tokens), ids.shape).copy(),
        "beam_idx": np.arange(batch, dtype=np.int32),
    }
    graph = ov.Model([ops.result(node) for node in nodes], list(joint.parameters), "around")
    results = ov.Core().compile_model(graph, "CPU", EXACT)(inputs)
    return [results[index].copy() for index in range(len(nodes))]


def settings_of(chosen: Chosen) -> dict[str, object]:
    if chosen.precision == "int8_sq":
        return {"smooth_quant_alpha": SMOOTH_QUANT_ALPHA}
    return {"group_size": chosen.group_size or GROUP_SIZE, **WEIGHT_ONLY[chosen.precision]}


def _quantized(graph: ov.Model, chosen: Chosen, samples: Samples) -> ov.Model:
    try:
        import nncf

        nncf.set_log_level(logging.ERROR)
        ignored = unnamed_products(graph)
        if chosen.precision == "int8_sq":
            return _smooth_quant(graph, samples, ignored)
        quantized: ov.Model = nncf.compress_weights(
            graph,
            mode=nncf.CompressWeightsMode.INT4_ASYM,
            group_size=chosen.group_size or GROUP_SIZE,
            ignored_scope=nncf.IgnoredScope(names=ignored, types=["Gather"], validate=False),
            all_layers=True,  # the ends of the model, usually excepted, are not in this graph
            dataset=nncf.Dataset(samples),
            subset_size=len(samples),
            advanced_parameters=nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=SMALLEST_GROUP
            ),
            **WEIGHT_ONLY[chosen.precision],
        )
        return quantized
    except MemoryError:
        raise
    except Exception as error:  # NNCF raises classes of its own that share no base
        raise BuildError(
            f"{chosen.precision} cannot be computed for this model",
            why=f"NNCF: {str(error).strip()[:500]}",
            remedy="use --precision int4 or int8, which need no calibration",
        ) from error


def _smooth_quant(graph: ov.Model, samples: Samples, ignored: list[str]) -> ov.Model:
    """Attention keeps its precision: quantisers before it would hide it from paged attention. So does the table of
    embeddings: the CPU plugin unpacks weights to f32 that are compressed without quantisers, beside others with them.
    """
    import nncf

    quantized: ov.Model = nncf.quantize(
        graph,
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(names=ignored, types=["ScaledDotProductAttention", "Gather"], validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=SMOOTH_QUANT_ALPHA)
        ),
    )
    return quantized


def unnamed_products(graph: ov.Model) -> list[str]:
    """Matrix products to be left as they are: with no tensor of the checkpoint (rotary angles, routers), or with one
    that is compressed already. Plain constants made by an encoding carry the tensor's dotted name.
    """
    products = [node for node in graph.get_ops() if node.get_type_name() == "MatMul"]
    return [node.get_friendly_name() for node in products if not any(map(_is_weight, node.input_values()))]


def _is_weight(output: ov.Output) -> bool:
    node = output.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant" and "." in node.get_friendly_name()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF draws bars on stdout, and reports its use over the network unless it believes to run in its own tests."""
    os.environ["NNCF_CI"] = "1"
    with contextlib.redirect_stdout(io.StringIO()):
        yield
