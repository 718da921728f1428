"""Runs built engines in the test's process, and measures how far their answers lie apart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import openvino as ov

from stoker.kinds.openvino.build.rows import SAMPLED
from stoker.plan.types import Chosen

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0", "KV_CACHE_PRECISION": "f32"}


def chosen(precision: str) -> Chosen:
    return Chosen("cpu", "openvino", "text", precision, "u8", "f32", 1, 1, (), 8, 256, 512, 2, 128)


def compiled(directory: Path) -> ov.CompiledModel:
    """Read as GenAI reads it, computing in f32 so that only the weights differ."""
    core = ov.Core()
    return core.compile_model(core.read_model(directory / "openvino_model.xml"), "CPU", EXACT)


def is_filled(model: ov.CompiledModel) -> bool:
    """Whether it was built for few rows, and wants to be told of which there are to be logits."""
    return any(SAMPLED in given.get_names() for given in model.inputs)


def log_probabilities(directory: Path, ids: np.ndarray) -> np.ndarray:
    """[batch, tokens, vocabulary] of one prefill of `ids`, [batch, tokens]."""
    batch, tokens = ids.shape
    positions = np.broadcast_to(np.arange(tokens), ids.shape).copy()
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": positions}
    model, rows = compiled(directory), np.arange(batch)
    if is_filled(model):
        inputs[SAMPLED] = rows
    outputs = model.create_infer_request().infer({**inputs, "beam_idx": rows.astype(np.int32)})
    return _log_softmax(outputs["logits"])


def sampled(directory: Path, batch: int, tokens: int) -> np.ndarray:
    """What the model itself says, at temperature 1 from its beginning-of-sequence id: text in its own distribution."""
    rng, request = np.random.default_rng(0), compiled(directory).create_infer_request()
    ids = np.ones((batch, 1), np.int64)
    for step in range(tokens - 1):
        inputs = {
            "input_ids": ids[:, -1:],
            "attention_mask": np.ones((batch, step + 1), np.int64),
            "position_ids": np.full((batch, 1), step),
            "beam_idx": np.arange(batch, dtype=np.int32),
        }
        chances = np.exp(_log_softmax(request.infer(inputs)["logits"][:, -1]))
        drawn = (chances.cumsum(-1) < rng.random((batch, 1))).sum(-1)
        ids = np.concatenate([ids, np.minimum(drawn, chances.shape[-1] - 1)[:, None]], axis=1)
    return ids


def divergence(reference: np.ndarray, other: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence over all positions, in nats."""
    return float((np.exp(reference) * (reference - other)).sum(-1).mean())


def matrix_types(directory: Path) -> Counter[str]:
    """The element types in which the running CPU plugin holds the matrices it multiplies with."""
    nodes = compiled(directory).get_runtime_model().get_ops()
    products = [node for node in nodes if node.get_rt_info()["layerType"].astype(str) == "FullyConnected"]
    return Counter(node.input(1).get_element_type().get_type_name() for node in products)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
