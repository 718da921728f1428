"""Adapters as TensorRT-LLM takes them: the tensors' shapes, types and values, and what it has no place for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from stoker.launch.adapter_tensors import read_tensors
from stoker.launch.generation import Adapter, Generation, RequestRefusedError
from stoker.launch.messages import append_adapter, encode_request

ATTENTION, MLP = "base_model.model.model.layers.{}.self_attn.{}", "base_model.model.model.layers.{}.mlp.{}"
HIDDEN, KEYS, INNER = 4, 2, 6


def write(directory: Path, modules: dict[str, tuple[int, int, int]], **changes: Any) -> Path:
    """Of each module its rank, inputs and outputs."""
    directory.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, **changes}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    tensors = {}
    for number, (name, (rank, inputs, outputs)) in enumerate(modules.items()):
        tensors[f"{name}.lora_A.weight"] = np.arange(rank * inputs, dtype=np.float32).reshape(rank, inputs) + number
        tensors[f"{name}.lora_B.weight"] = -np.arange(outputs * rank, dtype=np.float32).reshape(outputs, rank)
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


def some(directory: Path, **changes: Any) -> Path:
    modules = {
        MLP.format(1, "down_proj"): (2, INNER, HIDDEN),
        ATTENTION.format(0, "q_proj"): (2, HIDDEN, HIDDEN),
        ATTENTION.format(1, "k_proj"): (2, HIDDEN, KEYS),
        MLP.format(0, "up_proj"): (2, HIDDEN, INNER),
    }
    return write(directory, modules, **changes)


def test_rows_are_modules_of_layers_with_a_and_scaled_b_one_after_the_other(tmp_path: Path) -> None:
    found = read_tensors(some(tmp_path / "a"), "FP16")
    assert found.config.tolist() == [[1, 0, 2], [7, 0, 2], [2, 1, 2], [6, 1, 2]]
    assert (found.config.dtype, found.weights.dtype) == (np.int32, np.float16)
    assert found.weights.shape == (4, 2 * (INNER + HIDDEN))
    q, _, k, down = found.weights.tolist()
    assert q[:8] == [1, 2, 3, 4, 5, 6, 7, 8]  # A, row by row
    assert q[8:16] == [-1.5 * value for value in range(8)]  # B, times alpha over rank
    assert q[16:] == [0] * 4
    assert k[8:12] == [0, -1.5, -3, -4.5]
    assert k[12:] == [0] * 8
    assert down[12:] == [-1.5 * value for value in range(8)]


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({"use_rslora": True}, 3 / np.sqrt(2)),
        ({"alpha_pattern": {"q_proj": 1}}, 0.5),
        ({"lora_alpha": 8}, 4),
    ],
)
def test_scales_are_peft_s(changes: dict[str, Any], scale: float, tmp_path: Path) -> None:
    tensors = read_tensors(some(tmp_path / "a", **changes), "FP16")
    assert tensors.weights[0, 9] == np.float16(-scale)


def test_ranks_by_pattern_are_told_row_by_row(tmp_path: Path) -> None:
    modules = {ATTENTION.format(0, "q_proj"): (4, HIDDEN, HIDDEN), ATTENTION.format(0, "v_proj"): (2, HIDDEN, KEYS)}
    found = read_tensors(write(tmp_path / "a", modules, rank_pattern={"q_proj": 4}), "FP16")
    assert found.config.tolist() == [[1, 0, 4], [3, 0, 2]]


def test_an_engine_in_bf16_gets_its_bits_rounded_to_the_nearest(tmp_path: Path) -> None:
    directory = some(tmp_path / "a", lora_alpha=2.001)
    found = read_tensors(directory, "BF16").weights
    assert found.dtype == np.uint16
    values = (found.astype(np.uint32) << 16).view(np.float32)
    assert values[0, :8].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert values[0, 9:16] == pytest.approx([-1.0005 * value for value in range(1, 8)], rel=2**-8)
    assert values[0, 10] == -2  # the nearest, not the next below


def test_the_request_has_them_with_a_batch_of_one(tmp_path: Path) -> None:
    adapter = Adapter(5, "")
    request = encode_request(Generation("id", (1, 2), 3, adapter=adapter), "id/1")
    append_adapter(request, read_tensors(some(tmp_path / "a"), "BF16"), "BF16")
    told = {tensor.name: (tensor.datatype, tuple(tensor.shape)) for tensor in request.inputs}
    assert told["lora_task_id"] == ("UINT64", (1, 1))
    assert told["lora_weights"] == ("BF16", (1, 4, 20))
    assert told["lora_config"] == ("INT32", (1, 4, 3))
    assert "lora_directory" not in told
    sizes = [len(raw) for raw in request.raw_input_contents[-2:]]
    assert sizes == [4 * 20 * 2, 4 * 3 * 4]


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("base_model.model.model.layers.0.mlp.experts.0.up_proj", "takes no adapter for"),
        ("base_model.model.model.layers.0.self_attn.qkv_proj", "takes no adapter for"),
        ("base_model.model.lm_head", "takes no adapter for"),
        ("base_model.model.transformer.h.0.attn.c_attn", "takes no adapter for"),
    ],
)
def test_modules_that_it_has_no_number_for_are_named(module: str, why: str, tmp_path: Path) -> None:
    directory = write(tmp_path / "a", {module: (2, HIDDEN, HIDDEN)})
    with pytest.raises(RequestRefusedError, match=why) as refused:
        read_tensors(directory, "FP16")
    assert module.removeprefix("base_model.model.") in str(refused.value)


def test_what_f16_cannot_hold_is_refused_and_bf16_holds(tmp_path: Path) -> None:
    directory = some(tmp_path / "a", lora_alpha=100_000)
    with pytest.raises(RequestRefusedError, match="too large for the engine"):
        read_tensors(directory, "FP16")
    assert np.isfinite((read_tensors(directory, "BF16").weights.astype(np.uint32) << 16).view(np.float32)).all()


def test_a_directory_that_vanished_or_lost_a_half_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestRefusedError, match="cannot be read"):
        read_tensors(tmp_path / "nothing", "FP16")
    directory = some(tmp_path / "a")
    save_file({f"{ATTENTION.format(0, 'q_proj')}.lora_A.weight": np.ones((2, 4), np.float32)},
              directory / "adapter_model.safetensors")  # fmt: skip
    with pytest.raises(RequestRefusedError, match="one half of"):
        read_tensors(directory, "FP16")
