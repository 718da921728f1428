"""The stand-ins for TensorRT-LLM's tools, run in this process."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.loading import load

from stoker.kinds.tensorrt_llm.build.commands import CALIBRATION, MODEL, Step, steps
from stoker.plan.types import Plan

TOOLS = Path(__file__).parents[3] / "fake_tensorrt_llm_tools"
orders = load("orders", Path(__file__).with_name("orders.py"))


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return {name: importlib.import_module(name) for name in ("convert_checkpoint", "quantize", "trtllm_build")}


@pytest.fixture
def obeyed(tools, tmp_path, monkeypatch, capsys) -> Callable[[Plan], dict[str, Any]]:
    """Runs a plan's steps through the stand-ins; returns the config.json of the engine that comes out."""

    def run(plan: Plan) -> dict[str, Any]:
        folder = tmp_path / "work"
        folder.mkdir()
        _prepare(folder, plan, monkeypatch)
        for step in steps(orders.order_of(plan)):
            monkeypatch.setattr(sys, "argv", [step.tool, *step.arguments])
            _main(tools, step)
        capsys.readouterr()
        config: dict[str, Any] = json.loads((folder / "engine" / "config.json").read_text())
        ranks = config["pretrained_config"]["mapping"]["world_size"]
        assert sorted(path.name for path in (folder / "engine").glob("*.engine")) == sorted(
            f"rank{rank}.engine" for rank in range(ranks)
        )
        folder.rename(tmp_path / f"done{len(list(tmp_path.iterdir()))}")
        return config

    return run


def _prepare(folder: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / MODEL).mkdir()
    (folder / MODEL / "config.json").write_text(json.dumps(plan.model.config))
    (folder / CALIBRATION).mkdir()
    (folder / CALIBRATION / "train.jsonl").write_text('{"text": "a text"}\n')
    major, minor = plan.machine.gpus[0].compute_capability
    monkeypatch.chdir(folder)
    for name, value in (
        ("FAKE_TENSORRT_LLM_SM", f"{major}.{minor}"),
        ("CUDA_VISIBLE_DEVICES", "0"),  # one: its pool of processes is for the tests that run it as a program
        ("HF_DATASETS_OFFLINE", "1"),
        ("HF_HUB_OFFLINE", "1"),
    ):
        monkeypatch.setenv(name, value)


def _main(tools: dict[str, Any], step: Step) -> None:
    if step.tool == "convert":
        tools["convert_checkpoint"].main(step.folder)
    else:
        tools["quantize" if step.tool == "quantize" else "trtllm_build"].main()
