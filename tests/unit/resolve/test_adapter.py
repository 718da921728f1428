"""Adapters as they are found: what fits is kept as it was checked, and what does not is refused by name."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stoker.errors import DamagedModelError, ModelError, ModelNotFoundError, UnsupportedModelError
from stoker.progress import Silent
from stoker.resolve.adapter import FOLDER, Fitting, ResolvedAdapter, prune, resolve_adapter
from stoker.resolve.lora import read_lora_config

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "org/base"}
MODULE = "model.layers.0.self_attn.q_proj"
NAME = f"base_model.model.{MODULE}"
SHAPES: dict[str, tuple[int, int] | None] = {"layers.0.self_attn.q_proj": (6, 4), "layers.0.mlp.up_proj": None}
FITTING = Fitting("org/served", 8, SHAPES, frozenset({"<s>", "known"}))

Make = Callable[..., Path]


def pair(rank: int = 2, inputs: int = 4, outputs: int = 6, name: str = NAME) -> dict[str, Any]:
    return {
        f"{name}.lora_A.weight": np.ones((rank, inputs), np.float32),
        f"{name}.lora_B.weight": np.ones((outputs, rank), np.float32),
    }


def packed(tensors: dict[str, Any]) -> bytes:
    header, offset = {}, 0
    for name, tensor in tensors.items():
        shape = list(tensor.shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensor.tobytes() for tensor in tensors.values())


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(tensors: dict[str, Any] | None = None, files: dict[str, bytes] | None = None, **config: Any) -> Path:
        directory = tmp_path / "adapter"
        directory.mkdir()
        (directory / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
        (directory / "adapter_model.safetensors").write_bytes(packed(pair() if tensors is None else tensors))
        for name, content in (files or {}).items():
            (directory / name).write_bytes(content)
        return directory

    return write


def resolved(directory: Path, fitting: Fitting = FITTING) -> ResolvedAdapter:
    return resolve_adapter(str(directory), directory.parent / "cache", Silent(), fitting)


def test_what_was_checked_is_what_is_kept(make: Make) -> None:
    directory = make()
    first = resolved(directory)
    assert (first.base, first.rank, first.modules) == ("org/base", 2, {MODULE: (4, 6)})
    kept = (first.directory / "adapter_model.safetensors").read_bytes()
    assert first.directory.parent.name == FOLDER
    (directory / "adapter_model.safetensors").write_bytes(packed({key: 2 * value for key, value in pair().items()}))
    second = resolved(directory)
    assert second.revision != first.revision
    assert (first.directory / "adapter_model.safetensors").read_bytes() == kept


def test_copies_that_nobody_uses_are_deleted_in_the_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker.resolve.adapter._KEPT", 0)
    found = resolved(make())
    cache = found.directory.parent.parent
    prune(cache, {found.directory})
    assert found.directory.is_dir()
    prune(cache, set())
    assert not found.directory.exists()


def test_a_copy_that_another_server_deletes_meanwhile_is_no_failure(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolved(make())
    for number in range(9):
        (found.directory.parent / f"going{number}").symlink_to("gone")
    prune(found.directory.parent.parent, set())
    prune(found.directory.parent.parent / "nothing", set())
    assert found.directory.is_dir()
    monkeypatch.setattr("stoker.resolve.adapter._KEPT", 0)
    prune(found.directory.parent.parent, set())
    assert not found.directory.exists(), "the others are still looked at"


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"peft_type": "IA3"}, "is not a LoRA adapter"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"bias": "all"}, "retrained biases"),
        ({"trainable_token_indices": [1]}, "embeddings of tokens"),
        ({"use_novelty": True}, "use_novelty"),
        ({"rank_pattern": {"(a+)+$": 2}}, "rank_pattern has the pattern"),
    ],
)
def test_what_is_more_than_a_lora_is_refused_by_name(config: dict[str, Any], what: str, make: Make) -> None:
    with pytest.raises(UnsupportedModelError, match=what.replace("(", r"\(")):
        resolved(make(**config))


@pytest.mark.parametrize(
    ("tensors", "error", "what"),
    [
        (pair(rank=16), DamagedModelError, "contradicts itself"),
        (pair(inputs=5), UnsupportedModelError, r"is \[6, 4\] in org/served.*made for org/base"),
        (
            pair(name="base_model.model.model.layers.0.other"),
            UnsupportedModelError,
            "has no module model.layers.0.other",
        ),
        ({**pair(), "base_model.model.lm_head.weight": np.ones((8, 4), np.float32)}, UnsupportedModelError, "lm_head"),
        ({f"{NAME}.lora_A.weight": np.ones((2, 4), np.float32)}, DamagedModelError, "one half of"),
        ({**pair(), "x": np.ones((2, 2), np.float32)}, UnsupportedModelError, "holds the tensor x"),
        ({}, DamagedModelError, "no weights"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    tensors: dict[str, Any], error: type[ModelError], what: str, make: Make
) -> None:
    with pytest.raises(error) as raised:
        resolved(make(tensors))
    assert re.search(what, str(raised.value))


def test_a_rank_above_the_limit_names_the_flag(make: Make) -> None:
    with pytest.raises(UnsupportedModelError, match="--max-lora-rank 16"):
        resolved(make(pair(rank=16), r=16))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(value: float, make: Make) -> None:
    tensors = pair()
    tensors[f"{NAME}.lora_B.weight"][3, 1] = value
    directory = make(tensors)
    with pytest.raises(DamagedModelError, match="infinite or not a number"):
        resolved(directory)
    assert not list((directory.parent / "cache" / FOLDER).iterdir())


def test_tokens_that_the_base_does_not_have_are_named(make: Make) -> None:
    tokenizer = {"added_tokens": [{"id": 0, "content": "<s>"}, {"id": 9, "content": "<|new|>"}]}
    with pytest.raises(UnsupportedModelError, match=r"adds '<\|new\|>'"):
        resolved(make(files={"tokenizer.json": json.dumps(tokenizer).encode()}))


def test_links_pickles_and_missing_files_are_refused(make: Make, tmp_path: Path) -> None:
    directory = make(files={"adapter_model.bin": b"x"})
    weights = directory / "adapter_model.safetensors"
    weights.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="pickle"):
        resolved(directory)
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="link out of its directory"):
        resolved(directory)
    with pytest.raises(ModelNotFoundError, match="there is no adapter"):
        resolved(tmp_path / "nothing")


def test_truncated_weights_and_headers_without_end_are_refused(make: Make) -> None:
    directory = make()
    weights = directory / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for content in (whole[:-1], whole + b"x", b"\xff" * 64, b""):
        weights.write_bytes(content)
        with pytest.raises(DamagedModelError):
            resolved(directory)


def test_scales_follow_ranks_alphas_and_their_patterns() -> None:
    patterns = {"rank_pattern": {"q_proj": 4, "layers.1.mlp.up": 16}, "alpha_pattern": {"^model.k_proj": 3}}
    config = read_lora_config({**CONFIG, **patterns}, "x")
    assert (config.scale("model.v_proj"), config.scale("a.q_proj"), config.scale("b.layers.1.mlp.up")) == (2, 1, 0.25)
    assert config.scale("q_proj_not") == 2
    assert config.largest_rank == 16
    stable = read_lora_config({**CONFIG, "r": 16, "use_rslora": True}, "x")
    assert stable.scale("model.v_proj") == 1
