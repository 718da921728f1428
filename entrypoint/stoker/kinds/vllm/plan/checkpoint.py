"""The quantisation that a checkpoint brings along, in the words of the profiles' `checkpoints`."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.resolve.model import Model

_MODELOPT = {"FP8": "fp8", "NVFP4": "nvfp4"}
_PACKED = {("int", 4): "int4", ("int", 8): "int8", ("float", 8): "fp8", ("float", 4): "nvfp4"}
_PLAIN_METHODS = ("awq", "gptq", "mxfp4")


def checkpoint_of(model: Model) -> str:
    """One of catalogue.CHECKPOINTS, or words for something that vLLM does not read."""
    quantization = model.quantization
    if quantization is None:
        return "plain"
    method, settings = quantization.method, quantization.settings
    if method in _PLAIN_METHODS:
        return method
    if method == "fp8":
        return "fp8_block" if settings.get("weight_block_size") else "fp8"
    if method == "fbgemm_fp8":
        return "fp8"
    found = _packed(settings) if method == "compressed-tensors" else _modelopt(settings) if method == "modelopt" else ""
    return found or (f"{method} {quantization.bits}-bit" if quantization.bits else method)


def _packed(settings: Mapping[str, object]) -> str:
    """compressed-tensors: what the weights of the first group are packed in."""
    groups = settings.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping):
        return ""
    return _PACKED.get((str(weights.get("type")), weights.get("num_bits", 0)), "")


def _modelopt(settings: Mapping[str, object]) -> str:
    inner = settings.get("quantization")
    told = inner if isinstance(inner, Mapping) else settings
    return _MODELOPT.get(str(told.get("quant_algo", "")), "")
