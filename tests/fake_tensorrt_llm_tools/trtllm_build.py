"""Stands in for `trtllm-build` of TensorRT-LLM 1.2: the same flags, the same files, the same log."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common import VERSION, capability, fail_on_demand, gpus, how_to_fail, log, require
from tables import read

FP8_LIKE = ("FP8", "W4A8_AWQ", "NVFP4")
SIXTEEN = ("float16", "bfloat16", "float32", "auto")


def check(options: Any, config: dict[str, Any]) -> None:
    require(gpus() > 0, "Found no NVIDIA driver on your system")
    ranks = config["mapping"]["world_size"]
    for rank in range(ranks):
        (Path(options.checkpoint_dir) / f"rank{rank}.safetensors").read_bytes()
    require((options.workers or 1) <= max(ranks, 1), "more workers than ranks")
    require(options.max_seq_len >= options.max_input_len, "max_input_len exceeds max_seq_len")
    require(options.max_num_tokens >= options.max_batch_size, "fewer tokens in a step than sequences")
    require(options.remove_input_padding == "enable" and options.kv_cache_type == "paged", "no in-flight batching")
    require(options.multiple_profiles != "enable" or options.opt_num_tokens is None, "opt_num_tokens with profiles")
    check_attention(options, config["quantization"])
    check_products(options, config)
    check_gpu(config["quantization"])
    check_adapters(options, config)


def check_adapters(options: Any, config: dict[str, Any]) -> None:
    """With no --lora_dir to read them off, the modules must be named."""
    if options.lora_plugin in (None, "disable"):
        require(not options.lora_target_modules and not options.max_lora_rank, "LoRA without its plugin")
        return
    require(bool(options.lora_dir or options.lora_target_modules), "lora_target_modules is empty")
    require(options.lora_plugin in ("auto", config["dtype"]), f"lora_plugin {options.lora_plugin}: {config['dtype']}")


def check_attention(options: Any, quantization: dict[str, Any]) -> None:
    algorithm, cache = quantization["quant_algo"], quantization["kv_cache_quant_algo"]
    eight_bits = cache == "FP8" and algorithm in (*FP8_LIKE, "FP8_PER_CHANNEL_PER_TOKEN")
    paged = cache is None or eight_bits
    require(options.use_paged_context_fmha != "enable" or paged, f"{cache} cache, {algorithm}: no paged FMHA")
    if options.use_fp8_context_fmha == "enable":
        require(algorithm in FP8_LIKE or algorithm == "FP8_PER_CHANNEL_PER_TOKEN", "FP8 context FMHA needs FP8 weights")
        require(options.use_paged_context_fmha != "enable" or cache == "FP8", "FP8 paged FMHA needs an FP8 cache")
    require(options.use_paged_context_fmha != "enable" or options.context_fmha == "enable", "paged FMHA without FMHA")


def check_products(options: Any, config: dict[str, Any]) -> None:
    algorithm = config["quantization"]["quant_algo"]
    require(options.gemm_plugin != "nvfp4" or algorithm == "NVFP4", "gemm_plugin nvfp4 with other weights")
    require(options.gemm_plugin != "fp8" or algorithm == "FP8", "gemm_plugin fp8 with other weights")
    require(algorithm != "NVFP4" or options.gemm_plugin == "nvfp4", "NVFP4 without its plugin")
    for flag in (options.gemm_plugin, options.gpt_attention_plugin):
        require(flag not in ("float16", "bfloat16") or flag == config["dtype"], f"{flag} for {config['dtype']} weights")
    require(options.reduce_fusion != "enable" or config["architecture"] == "LlamaForCausalLM", "reduce_fusion: Llama")
    require(options.user_buffer != "enable" or options.reduce_fusion == "enable", "user_buffer needs reduce_fusion")


def check_gpu(quantization: dict[str, Any]) -> None:
    algorithm, cache = quantization["quant_algo"] or "", quantization["kv_cache_quant_algo"]
    if (10, 0) <= capability() < (12, 0) and (algorithm[:3] in ("W8A", "W4A") or cache == "INT8"):
        raise RuntimeError(f"{algorithm} with {cache} cache is not supported on this GPU")
    require(not algorithm.startswith("FP8") or capability() >= (8, 9), "FP8 needs compute capability 8.9")


def build_rank(options: Any, config: dict[str, Any], rank: int) -> None:
    log("TRT-LLM", "Build TensorRT engine Unnamed Network 0")
    if how_to_fail("build") == "worker-killed":
        os.kill(os.getpid(), signal.SIGKILL)
    fail_on_demand("build")
    log("TRT", "Engine generation completed in 0.0512 seconds.")
    log("TRT", "[MemUsageStats] Peak memory usage during Engine building and serialization: CPU: 40291 MiB")
    log("TRT-LLM", "Total time of building Unnamed Network 0: 00:00:00")
    folder = Path(options.output_dir)
    folder.mkdir(exist_ok=True)
    log("TRT-LLM", f"Serializing engine to {folder}/rank{rank}.engine...")
    if rank == 0:
        given = {name: value for name, value in vars(options).items() if value not in (None, False)}
        document = {"version": VERSION, "pretrained_config": config, "build_config": given}
        (folder / "config.json").write_text(json.dumps(document, indent=4))
    (folder / f"rank{rank}.engine").write_bytes(b"an engine" * 1000)
    log("TRT-LLM", "Engine serialized. Total time: 00:00:00")


def build_all(options: Any, config: dict[str, Any]) -> None:
    ranks, workers = range(config["mapping"]["world_size"]), min(gpus(), options.workers or 1)
    if workers == 1:
        for rank in ranks:
            build_rank(options, config, rank)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for future in [pool.submit(build_rank, options, config, rank) for rank in ranks]:
            future.result()


def main() -> None:
    began = time.monotonic()
    print(f"[TensorRT-LLM] TensorRT-LLM version: {VERSION}")
    options = read("build", sys.argv[1:])
    require(bool(options.checkpoint_dir), "--checkpoint_dir is missing")
    config = json.loads((Path(options.checkpoint_dir) / "config.json").read_text())
    check(options, config)
    build_all(options, config)
    Path(options.output_timing_cache or "model.cache").write_bytes(b"timings")
    spent = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - began))
    log("TRT-LLM", f"Total time of building all engines: {spent}")
