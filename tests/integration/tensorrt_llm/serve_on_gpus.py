"""`stoker serve` in a process of its own on GPUs that NVML makes up: serve_on_gpus.py GPUS STORED ARGUMENTS...

STORED is a finished engine's directory: it stands for the build, which needs TensorRT-LLM.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import stoker.chain
import stoker.cli.server
from stoker.cli import main
from stoker.store.engine import Engine, Manifest


def fake_nvml(count: int):
    spec = importlib.util.spec_from_file_location("fake_nvml", Path(__file__).parents[2] / "fake_nvml.py")
    module = sys.modules["fake_nvml"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    gpus = [module.FakeGpu(f"GPU-{index}", bus_id=f"00000000:0{index}:00.0") for index in range(count)]
    return module.FakeNvml(*gpus, nvlinks=frozenset((0, index) for index in range(1, count)))


def obtain_engine(plan, *_):
    manifest = Manifest(1, "key", "tensorrt_llm", plan.model.served_name, "", vars(plan.chosen), {}, {})
    return Engine(Path(sys.argv[2]), manifest)


if __name__ == "__main__":
    sys.modules["pynvml"] = fake_nvml(int(sys.argv[1]))
    stoker.chain.buildable_kinds = lambda: frozenset({"tensorrt_llm"})
    stoker.cli.server.obtain_engine = obtain_engine
    sys.exit(main(sys.argv[3:]))
