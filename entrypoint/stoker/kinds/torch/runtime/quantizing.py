"""Weights in int8 and int4, quantised while they are loaded, by torchao: nothing is calibrated."""

from __future__ import annotations

from typing import Any

from stoker.launch.settings import EngineSettings


def quantization_of(settings: EngineSettings) -> Any:
    """transformers' quantisation config, None for a plain precision."""
    if settings.chosen.precision not in ("int8", "int4"):
        return None
    import torchao.quantization as torchao
    from transformers import TorchAoConfig

    if settings.chosen.precision == "int8":
        return TorchAoConfig(quant_type=torchao.Int8WeightOnlyConfig())
    packing = "tile_packed_to_4d"  # CUDA's kernel for few rows; the plan gives int4 to no other device
    return TorchAoConfig(
        quant_type=torchao.Int4WeightOnlyConfig(group_size=settings.chosen.group_size, int4_packing_format=packing)
    )
