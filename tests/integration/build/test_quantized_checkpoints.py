"""A whole model from an AWQ and a GPTQ checkpoint answers exactly as its dequantised weights do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from built_engines import chosen, log_probabilities
from safetensors.numpy import save_file

import stoker
from stoker.build.worker import run_build
from stoker.errors import UnsupportedModelError
from stoker.kinds.openvino import KIND
from stoker.kinds.openvino.build.checkpoint import open_checkpoint
from stoker.progress import Silent
from stoker.resolve.resolve import resolve

DEMO = Path(stoker.__file__).parent / "resolve" / "demo"
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
GROUP = 64


def quantized(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [out, in], zero points and scales [out, groups]; crude, but known."""
    groups = weight.reshape(len(weight), -1, GROUP)
    low, high = groups.min(-1), groups.max(-1)
    scales = ((high - low) / 15).astype(np.float16)
    zeros = np.clip(np.rint(-low / scales.astype(np.float32)), 1, 15)
    codes = np.clip(np.rint(groups / scales.astype(np.float32)[..., None]) + zeros[..., None], 0, 15)
    return codes.reshape(weight.shape).astype(np.uint32), zeros.astype(np.uint32), scales


def dequantized(codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray) -> np.ndarray:
    wide = [np.repeat(part.astype(np.float32), GROUP, axis=1) for part in (zeros, scales)]
    return (codes.astype(np.float32) - wide[0]) * wide[1]


def words(values: np.ndarray, order: tuple[int, ...] = tuple(range(8))) -> np.ndarray:
    """Packs the last axis, eight values to an int32."""
    eights = values.reshape(*values.shape[:-1], -1, 8)
    shifted = [eights[..., index] << np.uint32(4 * place) for place, index in enumerate(order)]
    return sum(shifted, start=np.zeros_like(shifted[0])).astype(np.int32)


def packed(method: str, codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray) -> dict[str, np.ndarray]:
    if method == "awq":
        tensors = {"qweight": words(codes.T, AWQ_ORDER), "qzeros": words(zeros.T, AWQ_ORDER)}
    else:
        tensors = {"qweight": words(codes).T, "qzeros": words(zeros.T - 1)}
    # safetensors writes memory as it lies
    return {name: np.ascontiguousarray(tensor) for name, tensor in {**tensors, "scales": scales.T}.items()}


def write_checkpoints(directory: Path, method: str) -> tuple[Path, Path]:
    """The demo model quantised by `method`, and the same numbers as a plain f32 checkpoint."""
    source = open_checkpoint(DEMO)
    compact: dict[str, np.ndarray] = {}
    plain: dict[str, np.ndarray] = {}
    for name in source.names():
        values = source.tensor(name).as_f32()
        if name.endswith("_proj.weight"):
            layer = quantized(values)
            prefix = name.removesuffix("weight")
            compact.update({prefix + key: tensor for key, tensor in packed(method, *layer).items()})
            values = dequantized(*layer)
        else:
            compact[name] = values
        plain[name] = values
    settings = {"quant_method": method, "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    return (
        write_model(directory / method, compact, {"quantization_config": settings}),
        write_model(directory / f"{method}-plain", plain, {}),
    )


def write_model(directory: Path, tensors: dict[str, np.ndarray], config: dict[str, object]) -> Path:
    directory.mkdir()
    for file in DEMO.glob("*.json"):
        shutil.copyfile(file, directory / file.name)
    settings = {**json.loads((DEMO / "config.json").read_text()), **config}
    (directory / "config.json").write_text(json.dumps(settings))
    save_file(tensors, directory / "model.safetensors")
    return directory


@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_a_quantised_checkpoint_answers_as_its_dequantised_weights(method, tmp_path):
    compact, plain = write_checkpoints(tmp_path, method)
    engines = {}
    for source, precision in ((compact, f"int4_{method}"), (plain, "f32")):
        model = resolve(str(source), tmp_path / "cache", Silent())
        engines[precision] = tmp_path / f"engine-{precision}"
        engines[precision].mkdir()
        record = run_build(KIND.build, model, chosen(precision), engines[precision], Silent())
        if source is compact:
            assert record["repacked"] == {"method": method, "matrices": 42}
            assert "calibration" not in record
    ids = np.random.default_rng(0).integers(10, 2000, (2, 48))
    found, expected = (log_probabilities(engine, ids) for engine in engines.values())
    # what remains is the tied embedding, which is stored in 8 bits
    divergence = (np.exp(expected) * (expected - found)).sum(-1).mean()
    assert divergence < 1e-3
    with pytest.raises(UnsupportedModelError, match="already quantised"):
        run_build(KIND.build, resolve(str(compact), tmp_path / "cache", Silent()), chosen("int8"), tmp_path, Silent())
