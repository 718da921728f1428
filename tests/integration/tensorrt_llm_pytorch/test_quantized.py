"""A plain checkpoint whose plan is FP8: quantised by TensorRT-LLM's own tool, then loaded by its LLM."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from tests.loading import python_path

TESTS = Path(__file__).parents[2]
PROFILE = ("--profile", "tensorrt_llm_pytorch-fp8-throughput", "--max-num-tokens", "2048")


@pytest.fixture
def stoker(tmp_path):
    """Runs a command of Stoker's on a made-up H100, with the stand-ins for the tools and for the package."""
    tools = runpy.run_path(str(TESTS / "fake_tensorrt_llm_tools" / "image.py"))["make_tools"](tmp_path / "image")
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": python_path(TESTS / "fake_tensorrt_llm"),
        "FAKE_TENSORRT_LLM_LOG": str(tmp_path / "heard.jsonl"),
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        script = str(Path(__file__).with_name("stoker_on_gpus.py"))
        line = [sys.executable, script, "1", *arguments, *PROFILE, "--cache", str(tmp_path / "cache")]
        return subprocess.run(line, capture_output=True, text=True, env={**environment, **more}, check=False)

    return run


def test_the_tool_s_checkpoint_is_what_the_llm_loads(stoker, tmp_path):
    built = stoker("build", "demo")
    assert built.returncode == 0, built.stderr
    engine = Path(built.stdout.strip())
    manifest = json.loads((engine / "engine.json").read_text())
    (step,) = manifest["build"]["steps"]
    line = " ".join(step["command"])
    for words in ("--qformat fp8", "--kv_cache_dtype fp8", "--export_format hf", "--calib_dataset calibration"):
        assert words in line
    assert "--tp_size" not in line
    assert manifest["build"]["calibration"]["rows"] > 0
    quantization = json.loads((engine / "checkpoint" / "hf_quant_config.json").read_text())["quantization"]
    assert quantization == {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    assert json.loads((engine / "checkpoint" / "config.json").read_text())["quantization_config"]
    answered = stoker("generate", "demo", "--prompt", "Once", "--raw", "--max-tokens", "4")
    assert answered.returncode == 0, answered.stderr
    heard = map(json.loads, (tmp_path / "heard.jsonl").read_text().splitlines())
    (llm,) = [entry["llm"] for entry in heard if "llm" in entry]
    assert llm["model"] == str(engine / "checkpoint")
    assert "dtype='fp8'" in llm["kv_cache_config"]


def test_a_tool_that_fails_is_told_and_leaves_nothing(stoker, tmp_path):
    failed = stoker("build", "demo", FAKE_TENSORRT_LLM_FAIL="quantize:error")
    assert failed.returncode != 0
    assert "quantize.py" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list((tmp_path / "cache" / "engines").iterdir())
