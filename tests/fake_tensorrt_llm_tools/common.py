"""What the stand-ins share: failures on demand, checkpoints, and the rules of compute capabilities.

FAKE_TENSORRT_LLM_FAIL   TOOL:HOW, where TOOL is convert, quantize or build and HOW is one of
                         killed (as the kernel does when memory runs out), worker-killed (one of its processes), memory
                         (a real allocation fails), gpu-memory, error, silent (ends well, leaves nothing), or hangs
FAKE_TENSORRT_LLM_SM     the GPU's compute capability (9.0)
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

VERSION = "1.2.1"


def how_to_fail(tool: str) -> str:
    wanted, _, how = os.environ.get("FAKE_TENSORRT_LLM_FAIL", "").partition(":")
    return how if wanted == tool else ""


def fail_on_demand(tool: str) -> None:
    how = how_to_fail(tool)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        bytearray(8 << 30)
    if how == "gpu-memory":
        raise RuntimeError("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")
    if how == "error":
        raise RuntimeError(f"{tool} cannot do this")
    if how == "silent":
        sys.exit(0)
    if how == "hangs":
        time.sleep(600)


def log(source: str, text: str, level: str = "I") -> None:
    print(time.strftime("[%m/%d/%Y-%H:%M:%S]"), f"[{source}] [{level}] {text}", flush=True)


def capability() -> tuple[int, int]:
    major, _, minor = os.environ.get("FAKE_TENSORRT_LLM_SM", "9.0").partition(".")
    return int(major), int(minor)


def gpus() -> int:
    return len([name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name])


def require(holds: bool, text: str) -> None:
    if not holds:
        raise AssertionError(text)


def model_config(directory: str) -> dict[str, Any]:
    return json.loads((Path(directory) / "config.json").read_text())


def read_calibration(name: str) -> list[str]:
    """A local directory only, its train split, its column "text"."""
    require(os.environ.get("HF_DATASETS_OFFLINE") == "1", "would have to download a data set")
    require("cnn_dailymail" not in name and "scienceqa" not in name.lower(), f"{name} means another data set")
    rows = [json.loads(line) for line in (Path(name) / "train.jsonl").read_text().splitlines()]
    require(bool(rows) and all(row["text"].strip() for row in rows), "no text")
    return [row["text"] for row in rows]


def write_checkpoint(directory: Path, config: dict[str, Any], ranks: int) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=4))
    for rank in range(ranks):
        weight = np.zeros((8, 8), np.float16)
        save_file({"transformer.vocab_embedding.weight": weight}, directory / f"rank{rank}.safetensors")


def write_hf_checkpoint(source: Path, directory: Path, quantization: dict[str, Any]) -> None:
    """As ModelOpt exports it for Hugging Face's form: no tokenizer."""
    directory.mkdir(exist_ok=True)
    told = {"producer": {"name": "modelopt", "version": "0.37.0"}, "quantization": quantization}
    config = {**json.loads((source / "config.json").read_text()), "quantization_config": {"quant_method": "modelopt"}}
    (directory / "config.json").write_text(json.dumps(config, indent=4))
    (directory / "hf_quant_config.json").write_text(json.dumps(told, indent=4))
    save_file({"model.embed_tokens.weight": np.zeros((8, 8), np.float16)}, directory / "model.safetensors")


def checkpoint_config(
    source: dict[str, Any], dtype: str, tp: int, pp: int, quantization: dict[str, Any]
) -> dict[str, Any]:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    names = (*names, "num_key_value_heads")
    return {
        "architecture": source["architectures"][0],
        "dtype": dtype,
        **{name: source.get(name) for name in names},
        "mapping": {"world_size": tp * pp, "tp_size": tp, "pp_size": pp},
        "quantization": {"quant_algo": None, "kv_cache_quant_algo": None, **quantization},
    }
