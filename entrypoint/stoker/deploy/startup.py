"""How long a first start may take. Estimated on the long side: too short a budget kills a good build."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.deploy.types import Sized
from stoker.kinds.tensorrt_llm.plan.host import source_weights
from stoker.plan.types import Plan

_DOWNLOAD = 50e6  # bytes a second: 400 Mbit/s, a slow line for a data centre
# Seconds for each GB of 16-bit weights. OpenVINO: int8 of a 0.5B model took 15 s on two cores. TensorRT-LLM: published
# logs of 1 to 35 billion parameters lie between 2 and 30 (convert and build), the slowest 8B at 64.
_BUILD: Mapping[str, float] = {"openvino": 15, "tensorrt_llm": 30, "tensorrt_llm_pytorch": 20}
_READ = 5  # engines that are not built read their weights
_CALIBRATED = ("int4_awq", "int4_gptq", "int8_sq", "fp8", "nvfp4", "w4a8_awq")
_CALIBRATION = 60  # seconds for each GB, on top: the model runs over a text, layer by layer
_LOAD_AND_WARM = 60
_MARGIN = 2
_STEP = 60


def startup(plan: Plan) -> Sized:
    """Seconds from nothing to ready."""
    gigabytes = source_weights(plan.model) / 1e9
    download = plan.model.weights.total_bytes / _DOWNLOAD
    rate = _BUILD.get(plan.chosen.engine, _READ) + (_CALIBRATION if plan.chosen.precision in _CALIBRATED else 0)
    expected = download + rate * gigabytes + _LOAD_AND_WARM
    seconds = -(-int(_MARGIN * expected) // _STEP) * _STEP
    why = (
        f"twice what a first start is expected to take: download {download:.0f} s at {_DOWNLOAD / 1e6:.0f} MB/s, "
        f"build {rate * gigabytes:.0f} s, load and warm-up {_LOAD_AND_WARM} s"
    )
    return Sized(seconds, why)
