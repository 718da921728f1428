"""Stands in for a family's convert_checkpoint.py of TensorRT-LLM 1.2: the same flags, the same files."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml
from common import VERSION, checkpoint_config, fail_on_demand, model_config, require, write_checkpoint
from tables import read

ARCHITECTURES = {
    "llama": ("LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "GraniteForCausalLM"),
    "qwen": ("Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM"),
    "gemma": ("GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"),
    "phi": ("PhiForCausalLM", "Phi3ForCausalLM"),
    "gpt": ("GPTForCausalLM",),
}
WEIGHT_ONLY = {"int8": "W8A16", "int4": "W4A16"}
DETECTS = {"llama": ("awq", "gptq", "fbgemm_fp8"), "qwen": ("awq", "gptq")}


def check(family: str, options: Any) -> None:
    """What the real ones assert, or say has no effect."""
    require(bool(options.output_dir), "--output_dir is missing")
    if getattr(options, "nemo_ckpt_path", None):
        require(not options.model_dir, "--model_dir and --nemo_ckpt_path")
        require(not options.use_weight_only and (options.pp_size or 1) == 1, "NeMo: no quantisation, no pipeline")
        return
    require(bool(options.model_dir), "--model_dir is missing")
    require(options.use_weight_only or not options.weight_only_precision, "needs --use_weight_only")
    require(not options.use_weight_only or bool(options.weight_only_precision), "needs --weight_only_precision")
    if family == "phi":
        require((options.pp_size or 1) == 1, "Pipeline parallelism is not supported.")
    if family == "gemma":
        require(options.ckpt_type == "hf", "--ckpt-type is missing")
    architecture = model_config(options.model_dir)["architectures"][0]
    require(architecture in ARCHITECTURES[family], f"Invalid model type {architecture} for {family}")


def quantization(family: str, options: Any) -> dict[str, Any]:
    """The checkpoint's own where this converter detects it; an unknown one would be read as plain weights."""
    found: dict[str, Any] = {}
    if getattr(options, "nemo_ckpt_path", None):
        return found
    if options.use_weight_only:
        found["quant_algo"] = WEIGHT_ONLY[options.weight_only_precision]
    own = model_config(options.model_dir).get("quantization_config")
    if own:
        method = own["quant_method"]
        require(method in DETECTS.get(family, ()), f"{family} does not detect {method}")
        require(not options.use_weight_only, f"weight-only over {method}")
        require(not own.get("desc_act"), "GPTQ with desc_act=True is not implemented!")
        found["quant_algo"] = "FP8_PER_CHANNEL_PER_TOKEN" if method == "fbgemm_fp8" else "W4A16_GPTQ"
    if getattr(options, "fp8_kv_cache", False):
        found["kv_cache_quant_algo"] = "FP8"
    return found


def source(options: Any) -> dict[str, Any]:
    """config.json, or what a NeMo archive has in its place."""
    if not getattr(options, "nemo_ckpt_path", None):
        return model_config(options.model_dir)
    with tarfile.open(options.nemo_ckpt_path) as tar:
        names = tar.getnames()
        require(any(name.endswith("model_weights.ckpt") for name in names), "Could not find checkpoint files")
        file = tar.extractfile(next(name for name in names if name.endswith("model_config.yaml")))
        assert file is not None
        config = yaml.safe_load(file.read())
    return {"architectures": ["GPTForCausalLM"], "hidden_size": config["hidden_size"]}


def main(family: str) -> None:
    print(VERSION)
    options = read(f"convert_{family}", sys.argv[1:])
    check(family, options)
    tp = getattr(options, "tp_size", None) or getattr(options, "world_size", None) or 1
    pp = getattr(options, "pp_size", None) or 1
    config = checkpoint_config(source(options), options.dtype, tp, pp, quantization(family, options))
    print("3it [00:00, 61.33it/s]\r12it [00:00, 61.33it/s]", file=sys.stderr)
    fail_on_demand("convert")
    for _ in range(tp * pp):
        print("Total time of reading and converting: 0.010 s")
        print("Total time of saving checkpoint: 0.010 s", flush=True)
    write_checkpoint(Path(options.output_dir), config, tp * pp)
    print("Total time of converting checkpoints: 00:00:01")
