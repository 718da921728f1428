"""The properties that OpenVINO compiles a graph with."""

from __future__ import annotations

from stoker.launch.settings import EngineSettings
from stoker.plan.speculation import OFF
from stoker.plan.types import Chosen

_ACTIVATION_GROUP = 128


def compile_properties(settings: EngineSettings, of: Chosen | None = None) -> dict[str, object]:
    """`of`: another graph's choices than the engine's.

    OpenVINO reads the host's cores, not the cgroup's, so that threads are always stated.

    Activations that meet compressed weights are quantised in groups too; OpenVINO's own groups are of 32. Measured on
    two cores with AVX512-VNNI at a 0.5B shape: groups of 128 gain 1.1 times at one stream of int8, 1.25 times at 16
    streams of int8 and int4; the mean KL divergence of int8 to f32 goes from 0.0015 to 0.0021.
    """
    chosen = of or settings.chosen
    properties: dict[str, object] = {
        "INFERENCE_NUM_THREADS": chosen.threads,
        "INFERENCE_PRECISION_HINT": chosen.activation_precision,
    }
    if chosen.kv_precision != "none":
        properties["KV_CACHE_PRECISION"] = chosen.kv_precision
    if settings.chosen.speculative != OFF:  # a block's common scale would keep what a wrong guess made of it
        properties["KEY_CACHE_QUANT_MODE"] = "BY_TOKEN"
    if chosen.precision.startswith(("int4", "int8")):
        properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = chosen.group_size or _ACTIVATION_GROUP
    return properties
