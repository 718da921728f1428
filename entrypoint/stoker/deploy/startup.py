"""How long a first start may take. Estimated on the long side: too short a budget kills a good build."""

from __future__ import annotations

from stoker.deploy.types import Sized
from stoker.plan.types import Plan

_DOWNLOAD = 50e6  # bytes a second: 400 Mbit/s, a slow line for a data centre
_CALIBRATED = ("int4_awq", "int4_gptq", "int8_sq", "fp8", "nvfp4", "w4a8_awq")
_CALIBRATION = 60  # seconds for each GB, on top: the model runs over a text, layer by layer
_LOAD_AND_WARM = 60
_MARGIN = 2
_STEP = 60


def startup(plan: Plan, build_rate: float) -> Sized:
    """Seconds from nothing to ready. `build_rate`: seconds for each GB of 16-bit weights."""
    gigabytes = plan.model.source_bytes / 1e9
    download = plan.model.weights.total_bytes / _DOWNLOAD
    rate = build_rate + (_CALIBRATION if plan.chosen.precision in _CALIBRATED else 0)
    expected = download + rate * gigabytes + _LOAD_AND_WARM
    seconds = -(-int(_MARGIN * expected) // _STEP) * _STEP
    why = (
        f"twice what a first start is expected to take: download {download:.0f} s at {_DOWNLOAD / 1e6:.0f} MB/s, "
        f"build {rate * gigabytes:.0f} s, load and warm-up {_LOAD_AND_WARM} s"
    )
    return Sized(seconds, why)
