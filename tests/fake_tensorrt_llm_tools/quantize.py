"""Stands in for examples/quantization/quantize.py of TensorRT-LLM 1.2, which needs ModelOpt and a GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from common import (
    capability,
    checkpoint_config,
    fail_on_demand,
    gpus,
    log,
    model_config,
    read_calibration,
    require,
    write_checkpoint,
    write_hf_checkpoint,
)
from tables import read

ALGORITHMS = {
    "fp8": "FP8",
    "nvfp4": "NVFP4",
    "int8_sq": "W8A8_SQ_PER_CHANNEL",
    "int4_awq": "W4A16_AWQ",
    "w4a8_awq": "W4A8_AWQ",
    "int8_wo": "W8A16",
    "int4_wo": "W4A16",
    "full_prec": None,
}


def check(options: Any) -> None:
    require(gpus() > 0, "GPU is required for inference.")
    require(bool(options.model_dir), "One of source checkpoint (model_dir, nemo_ckpt_path) must be specified")
    for word in ("vila", "mpt", "llava-onevision-qwen2"):
        require(word not in options.model_dir, f"the model's path has {word} in it, which means another model")
    require("quantization_config" not in model_config(options.model_dir), "the checkpoint is quantised already")
    require(options.awq_block_size is None or "awq" in options.qformat, "--awq_block_size without AWQ")
    require(options.qformat not in ("fp8", "w4a8_awq") or capability() >= (8, 9), "FP8 needs compute capability 8.9")
    require(options.qformat != "nvfp4" or capability() >= (10, 0), "NVFP4 needs compute capability 10.0")
    require(os.environ.get("HF_HUB_OFFLINE") == "1", "may download")


def main() -> None:
    options = read("quantize", sys.argv[1:])
    check(options)
    log("TRT-LLM", f"Initializing model from {options.model_dir}")
    log("TRT-LLM", f"Initializing tokenizer from {options.model_dir}")
    log("TRT-LLM", "Loading calibration dataset")
    read_calibration(options.calib_dataset)
    log("TRT-LLM", "Starting quantization...")
    fail_on_demand("quantize")
    log("TRT-LLM", "Quantization done. Total time used: 0.10 s.")
    tp, pp = options.tp_size or 1, options.pp_size or 1
    cache = options.kv_cache_dtype.upper() if options.kv_cache_dtype else None
    found = {"quant_algo": ALGORITHMS[options.qformat], "kv_cache_quant_algo": cache}
    if options.export_format == "hf":
        write_hf_checkpoint(Path(options.model_dir), Path(options.output_dir), found)
        return
    config = checkpoint_config(model_config(options.model_dir), options.dtype, tp, pp, found)
    write_checkpoint(Path(options.output_dir), config, tp * pp)
    log("TRT-LLM", f"Quantized model exported to {options.output_dir} \nTotal time used 0.10 s.")
