"""The quantisation that a checkpoint brings along, in the words of the profiles' `checkpoints`."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.resolve.model import Model, Quantization
from stoker.resolve.weights import checkpoint_dtype

_FOUR_BITS = 4
_MODELOPT: Mapping[str, str] = {
    "FP8": "fp8",
    "NVFP4": "nvfp4",
    "W4A16_AWQ": "modelopt_awq",
    "W4A8_AWQ": "w4a8_awq",
}
_MODELOPT_CACHES: Mapping[str, str] = {"FP8": "fp8", "INT8": "int8"}


def checkpoint_kind(quantization: Quantization | None) -> str:
    """One of rules.CHECKPOINT_KINDS, or the words for something that TensorRT-LLM does not read."""
    if quantization is None:
        return "plain"
    method, settings = quantization.method, quantization.settings
    if method in ("awq", "gptq") and quantization.bits == _FOUR_BITS:
        return method
    if method == "modelopt":
        algorithm = str(_modelopt(settings).get("quant_algo", ""))
        return _MODELOPT.get(algorithm, f"modelopt {algorithm}".strip())
    if method == "fp8":
        return "fp8_block" if settings.get("weight_block_size") else "fp8"
    if method == "mxfp4":
        return "mxfp4"
    if method == "fbgemm_fp8":
        return "fp8_rowwise"
    return f"{method} {quantization.bits}-bit" if quantization.bits else method


def checkpoint_cache(quantization: Quantization | None) -> str:
    """The KV cache's type that the checkpoint was calibrated for; empty where it does not say."""
    if quantization is None or quantization.method != "modelopt":
        return ""
    return _MODELOPT_CACHES.get(str(_modelopt(quantization.settings).get("kv_cache_quant_algo")), "")


def activation_dtype(model: Model) -> str:
    """f16 for float16 checkpoints, else bf16, whose range is that of float32."""
    return "f16" if checkpoint_dtype(model.config) == "F16" else "bf16"


def acts_in_order(quantization: Quantization | None) -> bool:
    """GPTQ's `desc_act` reorders the inputs by importance."""
    return quantization is None or not quantization.settings.get("desc_act")


def _modelopt(settings: Mapping[str, object]) -> Mapping[str, object]:
    inner = settings.get("quantization")
    return inner if isinstance(inner, Mapping) else settings
