"""A checkpoint that ModelOpt has quantised, from its directory to the plan."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.planning import plan_compiled

from stoker.plan.types import Overrides
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.resolve.local import DEMO_DIRECTORY
from stoker.resolve.resolve import resolve


@pytest.mark.parametrize(
    ("algorithm", "cache", "machine", "chosen"),
    [
        ("FP8", "FP8", "1xL4", ("tensorrt_llm_pytorch", "fp8", "fp8")),
        ("FP8", None, "1xH100", ("tensorrt_llm_pytorch", "fp8", "fp8")),
        ("NVFP4", "FP8", "1xB200", ("tensorrt_llm_pytorch", "nvfp4", "fp8")),
        ("W4A16_AWQ", None, "1xA100", ("tensorrt_llm_pytorch", "int4_awq", "bf16")),
    ],
)
def test_hf_quant_config_is_recognised_and_its_numbers_are_kept(tmp_path, algorithm, cache, machine, chosen):
    directory = shutil.copytree(DEMO_DIRECTORY, tmp_path / "model")
    quantization = {"quant_algo": algorithm, "kv_cache_quant_algo": cache, "group_size": 128}
    told = {"producer": {"name": "modelopt", "version": "0.37.0"}, "quantization": quantization}
    (directory / "hf_quant_config.json").write_text(json.dumps(told))
    model = resolve(str(directory), tmp_path / "cache", Silent(), offline=True, weights=True)
    assert "hf_quant_config.json" in model.files
    plan = plan_compiled(load_description(machine), model, Overrides())
    assert (plan.chosen.engine, plan.chosen.precision, plan.chosen.kv_precision) == chosen
    assert any("numbers are kept" in reason.text for reason in plan.reasons)
